//! Sizes: `2GiB`, `500MB`, or a number of bytes.
//!
//! Owns the notation; never what a size is for or how large it may be.

/// How a size is written, for hints.
pub(super) const USAGE: &str = "write it as `2GiB`, `1.5GiB`, `512MiB`, `500MB`, or as a number of bytes";

/// The units, each with its bytes.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// More digits than this after the point say nothing about bytes.
const MAX_DECIMALS: usize = 12;

/// Reads a size in bytes; one that is too large for any machine is the largest number.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let (_, unit) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A part of a byte is none.
    if !digits(whole) || !digits(decimals) || decimals.len() > MAX_DECIMALS || (*unit == 1 && number != whole)
    {
        return None;
    }
    let whole: u128 = whole.parse().unwrap_or(u128::from(u64::MAX));
    let fraction = decimals.parse::<u128>().ok()? * u128::from(*unit) / 10_u128.pow(decimals.len() as u32);
    let bytes = whole.saturating_mul(u128::from(*unit)).saturating_add(fraction);
    Some(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// A size as a person writes it.
pub(super) fn written(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes >= *unit && bytes.is_multiple_of(*unit);
    let (name, unit) = UNITS[..5].iter().rev().find(fits).unwrap_or(&UNITS[0]);
    format!("{}{name}", bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, expected) in [
            ("0", 0),
            ("7", 7),
            ("2GiB", 2 << 30),
            ("2 GiB", 2 << 30),
            ("1.5GiB", 3 << 29),
            ("0.5kib", 512),
            ("500MB", 500_000_000),
            ("1TiB", 1 << 40),
            ("0.000000000001TB", 1),
            ("99999999999999999999999999999999999999999999", u64::MAX),
            ("18446744073709551615TiB", u64::MAX),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for text in
            ["", "GiB", "2Gi", "2G", "2B", "-1", "1e3", "1.5", "1.GiB", ".5GiB", "1.2.3GiB", "0x10", "１MiB"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        for (bytes, expected) in
            [(0, "0"), (1 << 20, "1MiB"), (1500, "1500"), (1 << 40, "1TiB"), (3 << 29, "1536MiB")]
        {
            assert_eq!(written(bytes), expected);
            assert_eq!(parse(&written(bytes)), Some(bytes));
        }
    }
}
