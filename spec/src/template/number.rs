//! Numbers as Go prints them.
//!
//! Owns the digits of floats; flags and padding are `printf`'s.

/// `%g`: the shortest digits that read back as the same number, or this many significant ones.
pub(super) fn general(value: f64, precision: Option<usize>) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let precision = precision.map(|precision| precision.clamp(1, MAX_DECIMALS));
    let scientific = match precision {
        Some(precision) => format!("{value:.*e}", precision - 1),
        None => format!("{value:e}"),
    };
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.chars().filter(char::is_ascii_digit).collect::<String>();
    let digits = digits.trim_end_matches('0').len().max(1);
    // Go: up to six digits before the point are written out, or as many as were asked for and are not padding.
    let covers = i32::try_from(digits).is_ok_and(|digits| digits > exponent);
    let limit = match precision {
        None => 6,
        Some(precision) if precision > digits && covers => digits,
        Some(precision) => precision,
    };
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        return exponential(value, digits - 1);
    }
    let decimals =
        usize::try_from((i32::try_from(digits).unwrap_or(i32::MAX) - 1 - exponent).max(0)).unwrap_or(0);
    format!("{value:.decimals$}")
}

/// The most digits behind the point that can differ from 0; the formatter takes no more than 65,535.
const MAX_DECIMALS: usize = 1100;

/// `%f`.
pub(super) fn fixed(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let decimals = precision.min(MAX_DECIMALS);
    format!("{value:.decimals$}") + &"0".repeat(precision - decimals)
}

/// `%e`.
pub(super) fn exponential(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let decimals = precision.min(MAX_DECIMALS);
    let text = format!("{value:.decimals$e}");
    let zeros = "0".repeat(precision - decimals);
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{zeros}e{sign}{:02}", exponent.abs())
}

fn special(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value > 0.0 => "+Inf".to_owned(),
        _ => "-Inf".to_owned(),
    }
}
