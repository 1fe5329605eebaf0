//! Literals: strings, characters and numbers as Go writes them.
//!
//! Owns escapes, number bases and their limits. Never looks further than the end of the literal.

use super::lexer::Kind;

/// A literal that is not one.
pub(super) struct Bad {
    /// How many bytes of it to point at.
    pub(super) length: usize,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl Bad {
    fn new(length: usize, message: impl Into<String>, hint: &'static str) -> Self {
        Self { length, message: message.into(), hint }
    }
}

/// Reads a string or a character at the start of `text`, with its length in bytes.
pub(super) fn quoted(text: &str) -> Result<(Kind<'static>, usize), Bad> {
    match text.as_bytes().first() {
        Some(b'`') => raw(text),
        Some(b'\'') => character(text),
        _ => {
            let (value, length) = escaped(text, '"')?;
            Ok((Kind::Quoted(value), length))
        }
    }
}

fn raw(text: &str) -> Result<(Kind<'static>, usize), Bad> {
    match text[1..].find('`') {
        // Go drops carriage returns here, so that a file's line ends do not matter.
        Some(end) => Ok((Kind::Quoted(text[1..=end].replace('\r', "")), end + 2)),
        None => Err(Bad::new(1, "the raw string is not closed", "close it with a backquote")),
    }
}

fn character(text: &str) -> Result<(Kind<'static>, usize), Bad> {
    let (value, length) = escaped(text, '\'')?;
    let mut chars = value.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) => Ok((Kind::Integer(i64::from(u32::from(only))), length)),
        _ => Err(Bad {
            length,
            message: "a character constant holds exactly one character".to_owned(),
            hint: "write strings in double quotes",
        }),
    }
}

fn escaped(text: &str, quote: char) -> Result<(String, usize), Bad> {
    let mut value = String::new();
    let mut at = 1;
    while let Some(next) = text[at..].chars().next() {
        match next {
            '\n' => break,
            '\\' => {
                let (decoded, length) = escape(&text[at..], quote)?;
                value.push(decoded);
                at += length;
            }
            _ if next == quote => return Ok((value, at + 1)),
            _ => {
                value.push(next);
                at += next.len_utf8();
            }
        }
    }
    Err(Bad {
        length: 1,
        message: "the string is not closed on its line".to_owned(),
        hint: "a string of several lines is written between backquotes",
    })
}

/// Decodes the escape at the start of `text`.
fn escape(text: &str, quote: char) -> Result<(char, usize), Bad> {
    let kind = text[1..].chars().next().unwrap_or(' ');
    let simple = match kind {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        _ if kind == quote => quote,
        'x' => return numbered(text, 2, (16, 2)),
        'u' => return numbered(text, 2, (16, 4)),
        'U' => return numbered(text, 2, (16, 8)),
        '0'..='7' => return numbered(text, 1, (8, 3)),
        _ => {
            return Err(Bad {
                length: 1 + kind.len_utf8(),
                message: format!("`\\{}` is not an escape", kind.escape_debug()),
                hint: "write a backslash as `\\\\`, or use a string between backquotes",
            });
        }
    };
    Ok((simple, 2))
}

fn numbered(text: &str, skip: usize, (radix, digits): (u32, usize)) -> Result<(char, usize), Bad> {
    let length = skip + digits;
    let bad =
        |message: &str| Bad::new(text.len().min(2), message, "write `\\x41`, `\\u00e9` or `\\U0001f600`");
    let number = text
        .get(skip..length)
        .filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)))
        .and_then(|digits| u32::from_str_radix(digits, radix).ok())
        .ok_or_else(|| bad("the escape needs more digits"))?;
    // In Go, `\xff` and `\377` are bytes; text here is always UTF-8.
    if digits < 4 && number > 0x7f {
        return Err(Bad {
            hint: "write it as `\\u` with four digits",
            ..bad("the escape is not a character")
        });
    }
    let decoded = char::from_u32(number).ok_or_else(|| bad("the escape is not a character"))?;
    Ok((decoded, length))
}

/// Reads a number at the start of `text`, with its length in bytes.
pub(super) fn number(text: &str) -> Result<(Kind<'static>, usize), Bad> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let hexadecimal = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    let exponent_sign = |at: usize| !hexadecimal && matches!(text.as_bytes()[at - 1], b'e' | b'E');
    let length = text
        .char_indices()
        .find(|&(at, c)| {
            let sign = matches!(c, '+' | '-') && (at == 0 || exponent_sign(at));
            !sign && c != '.' && c != '_' && !c.is_alphanumeric()
        })
        .map_or(text.len(), |(at, _)| at);
    let word = &text[..length];
    let kind = match integer(word) {
        Some(Ok(value)) => Some(Kind::Integer(value)),
        Some(Err(())) => {
            return Err(Bad::new(
                length,
                format!("`{word}` is too large a number"),
                "write it in quotes, as text",
            ));
        }
        None => float(word).map(Kind::Float),
    };
    kind.map(|kind| (kind, length)).ok_or_else(|| Bad {
        length: length.max(1),
        message: format!("`{word}` is not a number"),
        hint: match word.starts_with(['-', '+']) {
            true => "there are no operators in templates",
            false => "write text in double quotes",
        },
    })
}

/// `None`: not an integer; `Err`: one that does not fit.
fn integer(word: &str) -> Option<Result<i64, ()>> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let plain = separated(digits, radix != 10)?;
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(&plain, radix).ok().map(|value| if negative { -value } else { value });
    Some(value.and_then(|value| i64::try_from(value).ok()).ok_or(()))
}

/// Drops `_` where Go allows it: between digits, or right after a base prefix.
fn separated(digits: &str, prefixed: bool) -> Option<String> {
    let misplaced = digits.contains("__") || digits.ends_with('_') || (!prefixed && digits.starts_with('_'));
    (!misplaced).then(|| digits.replace('_', ""))
}

fn float(word: &str) -> Option<f64> {
    let decimal = word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    let value: f64 = word.parse().ok().filter(|_| decimal)?;
    (value.is_finite() && word.contains(['.', 'e', 'E'])).then_some(value)
}
