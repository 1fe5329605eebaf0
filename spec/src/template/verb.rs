//! What a `printf` verb makes of a value.
//!
//! Owns verbs, padding and quoting. Follows Go's fmt/format.go.

use super::fault::RenderFault;
use super::meter::append;
use super::number;
use super::print;
use super::value::{List, Value};

/// What stands between `%` and the verb.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    pub(super) sharp: bool,
    pub(super) zero: bool,
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) space: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

impl Flags {
    pub(super) fn set(&mut self, flag: u8) {
        match flag {
            b'#' => self.sharp = true,
            b'0' => self.zero = true,
            b'+' => self.plus = true,
            b'-' => self.minus = true,
            _ => self.space = true,
        }
    }

    /// Pads to the width, with zeros where the flag asks for them.
    fn pad(&self, text: &str) -> String {
        let fill = if self.zero && !self.minus { '0' } else { ' ' };
        self.pad_with(text, fill)
    }

    fn pad_with(&self, text: &str, fill: char) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        let padding = fill.to_string().repeat(missing);
        if self.minus { format!("{text}{padding}") } else { format!("{padding}{text}") }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match () {
            () if negative => "-",
            () if self.plus => "+",
            () if self.space => " ",
            () => "",
        }
    }
}

/// The name of a value's type in Go.
pub(super) const fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Integer(_) => "int",
        Value::Byte(_) => "uint8",
        Value::Float(_) => "float64",
        Value::Text(_) => "string",
        Value::List(_) => "[]string",
        Value::Items(_) => "[]interface {}",
        Value::Map(_) | Value::Record(_) | Value::Later(_) => "map[string]interface {}",
    }
}

/// Formats a value.
pub(super) fn format(value: &Value<'_>, verb: char, flags: &Flags) -> Result<String, RenderFault> {
    if verb == 'T' {
        return Ok(flags.pad(type_name(value)));
    }
    let formatted = match value {
        Value::Nil => (verb == 'v').then(|| flags.pad("<nil>")),
        Value::Bool(value) => matches!(verb, 't' | 'v').then(|| flags.pad(&value.to_string())),
        Value::Integer(value) => integer(*value, verb, flags),
        Value::Byte(value) => integer(i64::from(*value), verb, flags),
        Value::Float(value) => return float(*value, verb, flags),
        Value::Text(text) => string(text.as_str(), verb, flags),
        Value::List(list) => return self::list(list, verb, flags),
        Value::Items(_) | Value::Map(_) if matches!(verb, 's' | 'v') && !flags.sharp => {
            Some(flags.pad(&print::plain(value)?))
        }
        Value::Items(_) | Value::Map(_) => {
            return Err(RenderFault::UnsupportedVerb { verb, got: value.kind() });
        }
        Value::Record(root) => return Err(RenderFault::NotText { what: root.name() }),
        Value::Later(_) => return Err(RenderFault::NotKnownYet),
    };
    formatted.map_or_else(|| bad_verb(value, verb, flags), Ok)
}

fn bad_verb(value: &Value<'_>, verb: char, flags: &Flags) -> Result<String, RenderFault> {
    match value {
        Value::Nil => Ok(format!("%!{verb}(<nil>)")),
        _ => Ok(format!("%!{verb}({}={})", type_name(value), format(value, 'v', flags)?)),
    }
}

fn list(list: &List<'_>, verb: char, flags: &Flags) -> Result<String, RenderFault> {
    if list.spaced && matches!(verb, 'v' | 's' | 'q' | 'x' | 'X') {
        let joined = print::plain(&Value::List(list.clone()))?;
        return format(&Value::shared(joined), verb, flags);
    }
    let go_syntax = flags.sharp && verb == 'v';
    let (open, between, close) = if go_syntax { ("[]string{", ", ", "}") } else { ("[", " ", "]") };
    let mut text = String::from(open);
    for (index, item) in list.iter().enumerate() {
        append(&mut text, if index == 0 { "" } else { between })?;
        append(&mut text, &format(&Value::shared(item.to_owned()), verb, flags)?)?;
    }
    append(&mut text, close)?;
    Ok(text)
}

fn integer(value: i64, verb: char, flags: &Flags) -> Option<String> {
    let magnitude = value.unsigned_abs();
    let digits = match verb {
        'd' | 'v' => magnitude.to_string(),
        'b' => format!("{magnitude:b}"),
        'o' | 'O' => format!("{magnitude:o}"),
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        'c' => return Some(flags.pad(&character(value).to_string())),
        'q' => return Some(flags.pad(&quote(&character(value).to_string(), '\'', flags.plus))),
        'U' => return Some(unicode(value, flags)),
        _ => return None,
    };
    let sign = flags.sign(value < 0);
    let least = match flags.precision {
        Some(0) if value == 0 => return Some(" ".repeat(flags.width.unwrap_or(0))),
        Some(precision) => precision,
        None if flags.zero && !flags.minus => flags.width.unwrap_or(0).saturating_sub(sign.len()),
        None => 0,
    };
    let digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
    let prefix = match verb {
        'O' => "0o",
        'b' if flags.sharp => "0b",
        'o' if flags.sharp && !digits.starts_with('0') => "0",
        'x' if flags.sharp => "0x",
        'X' if flags.sharp => "0X",
        _ => "",
    };
    Some(flags.pad_with(&format!("{sign}{prefix}{digits}"), ' '))
}

fn character(value: i64) -> char {
    u32::try_from(value).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn unicode(value: i64, flags: &Flags) -> String {
    // Go shows a negative number as the unsigned one of the same bits.
    let digits = format!("{:X}", value.cast_unsigned());
    let least = flags.precision.unwrap_or(0).max(4);
    let mut text = format!("U+{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
    if flags.sharp
        && let Some(character) =
            u32::try_from(value).ok().and_then(char::from_u32).filter(|c| is_printable(*c))
    {
        text.push_str(&format!(" '{character}'"));
    }
    flags.pad_with(&text, ' ')
}

fn float(value: f64, verb: char, flags: &Flags) -> Result<String, RenderFault> {
    let unsupported = RenderFault::UnsupportedVerb { verb, got: "a number with a fraction" };
    let magnitude = value.abs();
    let text = match verb {
        'v' | 'g' => number::general(magnitude, flags.precision),
        'G' => number::general(magnitude, flags.precision).to_uppercase(),
        'e' => number::exponential(magnitude, flags.precision.unwrap_or(6)),
        'E' => number::exponential(magnitude, flags.precision.unwrap_or(6)).to_uppercase(),
        'f' | 'F' => number::fixed(magnitude, flags.precision.unwrap_or(6)),
        'b' | 'x' | 'X' => return Err(unsupported),
        _ => return bad_verb(&Value::Float(value), verb, flags),
    };
    if flags.sharp {
        return Err(unsupported);
    }
    let sign = flags.sign(value.is_sign_negative());
    let missing = flags.width.unwrap_or(0).saturating_sub(sign.len() + text.len());
    Ok(if flags.zero && !flags.minus {
        format!("{sign}{}{text}", "0".repeat(missing))
    } else {
        flags.pad_with(&format!("{sign}{text}"), ' ')
    })
}

fn string(text: &str, verb: char, flags: &Flags) -> Option<String> {
    let cut = || match flags.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    match verb {
        'v' if flags.sharp => Some(flags.pad(&quote(&cut(), '"', false))),
        'v' | 's' => Some(flags.pad(&cut())),
        'q' if flags.sharp && can_backquote(&cut()) => Some(flags.pad(&format!("`{}`", cut()))),
        'q' => Some(flags.pad(&quote(&cut(), '"', flags.plus))),
        'x' | 'X' => Some(hexadecimal(text, verb, flags)),
        _ => None,
    }
}

fn hexadecimal(text: &str, verb: char, flags: &Flags) -> String {
    let bytes = text.as_bytes();
    let bytes = &bytes[..flags.precision.unwrap_or(bytes.len()).min(bytes.len())];
    let prefix = match (flags.sharp, verb) {
        (false, _) => "",
        (true, 'x') => "0x",
        (true, _) => "0X",
    };
    let digits = |byte: &u8| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") };
    let mut parts = bytes.iter().map(digits);
    let text = match flags.space {
        true => parts.map(|part| format!("{prefix}{part}")).collect::<Vec<_>>().join(" "),
        false => {
            parts.next().map(|first| format!("{prefix}{first}")).unwrap_or_default()
                + &parts.collect::<String>()
        }
    };
    flags.pad(&text)
}

fn can_backquote(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || !(c < ' ' || matches!(c, '`' | '\u{7f}' | '\u{feff}')))
}

fn quote(text: &str, mark: char, ascii: bool) -> String {
    let mut quoted = String::from(mark);
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            _ if c == mark => quoted.extend(['\\', c]),
            _ if is_printable(c) && (c.is_ascii() || !ascii) => quoted.push(c),
            _ if c < ' ' || c == '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ if u32::from(c) < 0x10000 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push(mark);
    quoted
}

/// Whether a character can be shown as it is: no control or format character, no white space but the space.
fn is_printable(c: char) -> bool {
    let format = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{f0000}'..='\u{10ffff}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || format)
}
