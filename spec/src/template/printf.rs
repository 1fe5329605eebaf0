//! `printf`: Go's formats.
//!
//! Owns the reading of a format: flags, width, precision, argument indexes, and what Go prints in place of an error,
//! as `%!d(MISSING)`. What a verb makes of a value is in `verb`.

use super::fault::RenderFault;
use super::meter::append;
use super::value::Value;
use super::verb::{self, Flags};

/// The largest width and precision, as in Go.
const MAX_NUMBER: usize = 1_000_000;

/// Formats values.
pub(super) fn sprintf(format: &str, values: &[Value<'_>]) -> Result<String, RenderFault> {
    let mut printer =
        Printer { format, at: 0, values, next: 0, reordered: false, good_index: true, output: String::new() };
    while printer.at < format.len() {
        let rest = &format[printer.at..];
        let length = rest.find('%').unwrap_or(rest.len());
        printer.push(&rest[..length])?;
        printer.at += length;
        if printer.at < format.len() {
            printer.at += 1;
            printer.verb()?;
        }
    }
    printer.extra()?;
    Ok(printer.output)
}

struct Printer<'p, 'a> {
    format: &'p str,
    at: usize,
    values: &'p [Value<'a>],
    next: usize,
    reordered: bool,
    good_index: bool,
    output: String,
}

impl Printer<'_, '_> {
    fn push(&mut self, text: &str) -> Result<(), RenderFault> {
        append(&mut self.output, text)
    }

    fn peek(&self) -> Option<u8> {
        self.format.as_bytes().get(self.at).copied()
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// Prints one verb, from behind its `%`.
    fn verb(&mut self) -> Result<(), RenderFault> {
        self.good_index = true;
        let mut flags = Flags::default();
        while let Some(flag @ (b'#' | b'0' | b'+' | b'-' | b' ')) = self.peek() {
            flags.set(flag);
            self.at += 1;
        }
        let mut indexed = self.index();
        indexed = self.width(&mut flags, indexed);
        indexed = self.precision(&mut flags, indexed);
        if !indexed {
            self.index();
        }
        let Some(verb) = self.format[self.at..].chars().next() else {
            return self.push("%!(NOVERB)");
        };
        self.at += verb.len_utf8();
        if verb == '%' {
            self.push("%")
        } else if !self.good_index {
            self.push(&format!("%!{verb}(BADINDEX)"))
        } else if let Some(value) = self.values.get(self.next) {
            self.next += 1;
            self.push(&verb::format(value, verb, &flags)?)
        } else {
            self.push(&format!("%!{verb}(MISSING)"))
        }
    }

    /// Takes an explicit argument index, `[n]`, and says whether there was a well-formed one.
    fn index(&mut self) -> bool {
        let rest = &self.format[self.at..];
        if !rest.starts_with('[') {
            return false;
        }
        self.reordered = true;
        let Some(close) = rest.find(']') else {
            self.good_index = false;
            self.at += 1;
            return false;
        };
        self.at += close + 1;
        let number =
            rest[1..close].bytes().all(|byte| byte.is_ascii_digit()).then(|| rest[1..close].parse::<usize>());
        match number {
            Some(Ok(index)) if (1..=self.values.len()).contains(&index) => {
                self.next = index - 1;
                true
            }
            Some(Ok(_)) => {
                self.good_index = false;
                true
            }
            _ => {
                self.good_index = false;
                false
            }
        }
    }

    fn width(&mut self, flags: &mut Flags, indexed: bool) -> bool {
        if self.take_if(b'*') {
            match self.argument() {
                Some(width) => {
                    flags.width = Some(width.unsigned_abs().try_into().unwrap_or(0));
                    if width < 0 {
                        flags.minus = true;
                        flags.zero = false;
                    }
                }
                None => self.output.push_str("%!(BADWIDTH)"),
            }
            return false;
        }
        flags.width = self.number();
        if indexed && flags.width.is_some() {
            self.good_index = false;
        }
        indexed
    }

    fn precision(&mut self, flags: &mut Flags, indexed: bool) -> bool {
        // Go reads a point at the very end of the format as a verb.
        if self.peek() != Some(b'.') || self.at + 1 == self.format.len() {
            return indexed;
        }
        self.at += 1;
        if indexed {
            self.good_index = false;
        }
        let indexed = self.index();
        if !self.take_if(b'*') {
            flags.precision = Some(self.number().unwrap_or(0));
            return indexed;
        }
        flags.precision = self.argument().and_then(|precision| precision.try_into().ok());
        if flags.precision.is_none() {
            self.output.push_str("%!(BADPREC)");
        }
        false
    }

    /// Takes the next value as a width or a precision.
    fn argument(&mut self) -> Option<i64> {
        let number = match self.values.get(self.next)? {
            Value::Integer(number) => Some(*number),
            Value::Byte(number) => Some(i64::from(*number)),
            _ => None,
        };
        self.next += 1;
        number.filter(|number| number.unsigned_abs() <= MAX_NUMBER as u64)
    }

    /// Takes digits. As in Go, a number that is too large counts as none, and its digits are gone.
    fn number(&mut self) -> Option<usize> {
        let rest = &self.format[self.at..];
        let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        match rest[..length].parse() {
            Ok(number) if number <= MAX_NUMBER => {
                self.at += length;
                Some(number)
            }
            Ok(_) | Err(_) if length > 0 => {
                self.at = self.format.len();
                None
            }
            _ => None,
        }
    }

    /// Lists the values that no verb took.
    fn extra(&mut self) -> Result<(), RenderFault> {
        if self.reordered || self.next >= self.values.len() {
            return Ok(());
        }
        self.push("%!(EXTRA ")?;
        for (index, value) in self.values.iter().enumerate().skip(self.next) {
            self.push(if index == self.next { "" } else { ", " })?;
            match value {
                Value::Nil => self.push("<nil>")?,
                _ => {
                    self.push(&format!("{}=", verb::type_name(value)))?;
                    self.push(&verb::format(value, 'v', &Flags::default())?)?;
                }
            }
        }
        self.push(")")
    }
}
