//! Spans of time as people write them: `10`, `1s`, `5m`, `2h`, `7d`.

use std::time::Duration;

/// Reads a span; a number alone is seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("`{text}` is not a span of time: write 500ms, 10s, 5m, 2h or 7d");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let (seconds, milliseconds) = match unit {
        "ms" => (number / 1_000, number % 1_000),
        "" | "s" => (number, 0),
        "m" => (number.saturating_mul(60), 0),
        "h" => (number.saturating_mul(60 * 60), 0),
        "d" => (number.saturating_mul(24 * 60 * 60), 0),
        _ => return Err(wrong()),
    };
    // A century is as good as for ever, and sums with it cannot overflow.
    Ok(Duration::from_secs(seconds.min(100 * 366 * 24 * 60 * 60)) + Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, milliseconds) in [
            ("10", 10_000),
            ("0", 0),
            ("1500ms", 1_500),
            ("1s", 1_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "s", "-1s", "1.5s", "1w", "1 s", "99999999999999999999"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("18446744073709551615d").is_ok());
    }
}
