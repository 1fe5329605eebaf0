//! Durations: `90m`, `1h30m`, or a number of seconds.
//!
//! Owns the notation and its limits; never what a duration is for.

use std::time::Duration;

/// How a duration is written, for hints.
pub(super) const USAGE: &str = "write it as `90m`, `1h30m`, `45s`, or as a number of seconds";

/// Whatever takes longer is not a job.
const MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The units, each with its seconds, in the order in which they are written.
const UNITS: [(char, u64); 3] = [('h', 3600), ('m', 60), ('s', 1)];

/// Reads a duration; an error says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Duration, &'static str> {
    const NONE: &str = "this is no duration";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(NONE);
    }
    let mut seconds = 0_u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: u64 = match number.parse() {
            Ok(number) => number,
            // A number that does not fit is a number all the same.
            Err(_) if digits > 0 => return Err("this is longer than 30 days"),
            Err(_) => return Err(NONE),
        };
        let (unit, after) = match after.chars().next() {
            None if rest.len() == text.trim().len() => (1, ""),
            Some(letter) => {
                let unit = units.find(|(known, _)| *known == letter).ok_or(NONE)?;
                (unit.1, &after[letter.len_utf8()..])
            }
            None => return Err(NONE),
        };
        seconds = seconds.saturating_add(number.saturating_mul(unit));
        rest = after;
    }
    match Duration::from_secs(seconds) {
        Duration::ZERO => Err("nothing can be done in no time"),
        duration if duration > MAX => Err("this is longer than 30 days"),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_units_in_order_or_seconds() {
        let seconds = |text| parse(text).map(|duration| duration.as_secs());
        for (text, expected) in [
            ("90m", 5400),
            ("1h30m", 5400),
            ("45s", 45),
            ("2h5s", 7205),
            ("90", 90),
            (" 1h ", 3600),
            ("720h", 2_592_000),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "0",
            "0h0s",
            "30m1h",
            "1h30",
            "1m1m",
            "1d",
            "1.5h",
            "-1",
            "1 h",
            "h",
            "721h",
            "99999999999999999999",
            "1h99999999999999999999s",
            "１m",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
