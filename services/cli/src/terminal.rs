//! Text from outside made harmless for a terminal.
//!
//! Owns the filter that everything goes through that a repository, a log or a server wrote. Invariant: what comes out
//! holds no control character but line feeds, tabs and, where they are wanted, colours.

use std::io::IsTerminal as _;

/// One line without any control character or colour.
pub(crate) fn inert(text: &str) -> String {
    let mut filter = Filter { colours: false, ..Filter::default() };
    let text = filter.push(text.as_bytes()) + &filter.finish();
    text.replace(['\n', '\t'], " ")
}

/// Whether standard error takes colours.
pub(crate) fn stderr_has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A piece of a log of which at most the colours are left; they are ended with it.
pub(crate) fn log_text(bytes: &[u8], colours: bool) -> String {
    let mut filter = Filter { colours, ..Filter::default() };
    let text = filter.push(bytes) + &filter.finish();
    if text.contains('\u{1b}') { text + "\u{1b}[0m" } else { text }
}

/// Takes control sequences out of bytes as they come.
pub(crate) struct Filter {
    /// Whether colours stay.
    colours: bool,
    state: State,
    /// The parameters of the sequence that is under way.
    parameters: String,
    /// The beginning of a character that is not complete yet.
    partial: Vec<u8>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { colours: true, state: State::Text, parameters: String::new(), partial: Vec::new() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// After a carriage return: it ends the line unless the line feed comes by itself.
    Return,
    /// After an escape.
    Escape,
    /// Between the two bytes of an escape that selects something.
    Intermediate,
    /// In a control sequence, of which colours are one kind.
    Sequence,
    /// In a string for the terminal: a title, a link, a device's own.
    String,
    /// After an escape in such a string.
    StringEscape,
}

/// Longer parameters belong to no colour.
const MAX_PARAMETERS: usize = 64;

impl Filter {
    /// Takes bytes in and gives out what is harmless of them.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.partial);
        let mut out = String::with_capacity(pending.len());
        let mut rest = pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.text(text, &mut out);
                    return out;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.text(&String::from_utf8_lossy(valid), &mut out);
                    let Some(length) = error.error_len() else {
                        self.partial = after.to_vec();
                        return out;
                    };
                    self.take('\u{fffd}', &mut out);
                    rest = &after[length..];
                }
            }
        }
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> String {
        let mut out = String::new();
        if !std::mem::take(&mut self.partial).is_empty() {
            self.take('\u{fffd}', &mut out);
        }
        if self.state == State::Return {
            out.push('\n');
        }
        self.state = State::Text;
        out
    }

    fn text(&mut self, text: &str, out: &mut String) {
        text.chars().for_each(|character| self.take(character, out));
    }

    fn take(&mut self, character: char, out: &mut String) {
        self.state = match (self.state, character) {
            (State::Text | State::Return, _) => self.plain(character, out),
            (State::String | State::StringEscape, '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}') => State::Text,
            // A string that nobody ends must not swallow the rest of the log.
            (State::String | State::StringEscape, '\n') => self.plain(character, out),
            (State::String, '\u{1b}') => State::StringEscape,
            (State::StringEscape, '\\') => State::Text,
            (State::StringEscape, '\u{1b}') => State::StringEscape,
            (State::String | State::StringEscape, _) => State::String,
            (_, '\u{1b}') => State::Escape,
            (State::Escape, '[') => self.begin(),
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::String,
            (State::Escape | State::Intermediate, ' '..='/') => State::Intermediate,
            (State::Escape | State::Intermediate, '0'..='~') => State::Text,
            (State::Sequence, ' '..='?') => {
                if self.parameters.len() <= MAX_PARAMETERS {
                    self.parameters.push(character);
                }
                State::Sequence
            }
            (State::Sequence, '@'..='~') => {
                if character == 'm' && self.colours && is_colour(&self.parameters) {
                    out.push_str(&format!("\u{1b}[{}m", self.parameters));
                }
                State::Text
            }
            // A terminal carries out what stands inside a sequence and goes on; we end the sequence.
            (State::Escape | State::Intermediate | State::Sequence, _) => self.plain(character, out),
        };
    }

    fn begin(&mut self) -> State {
        self.parameters.clear();
        State::Sequence
    }

    fn plain(&mut self, character: char, out: &mut String) -> State {
        if self.state == State::Return {
            out.push('\n');
            if character == '\n' {
                return State::Text;
            }
        }
        match character {
            '\r' => return State::Return,
            '\u{1b}' => return State::Escape,
            '\u{9b}' => return self.begin(),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => return State::String,
            '\n' | '\t' => out.push(character),
            // Marks that turn the direction of text show another order than the one that is there.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => {}
            _ if character.is_control() => {}
            _ => out.push(character),
        }
        State::Text
    }
}

/// Whether these parameters select colours and weights, and hide nothing.
fn is_colour(parameters: &str) -> bool {
    if parameters.len() > MAX_PARAMETERS {
        return false;
    }
    let mut numbers = parameters.split([';', ':']);
    while let Some(number) = numbers.next() {
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        match number.trim_start_matches('0') {
            // Concealed text is there and cannot be seen.
            "8" => return false,
            // A colour by its number or its parts: what follows is no attribute.
            "38" | "48" | "58" => {
                let parts = match numbers.next() {
                    Some("5") => 1,
                    Some("2") => 3,
                    _ => return false,
                };
                if numbers.by_ref().take(parts).any(|part| !part.bytes().all(|byte| byte.is_ascii_digit())) {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_stay_and_everything_else_goes() {
        for (given, shown) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[38;5;8mgrey", "\u{1b}[38;5;8mgrey"),
            ("\u{1b}[8mhidden", "hidden"),
            ("\u{1b}[2J\u{1b}[Hclear", "clear"),
            ("\u{1b}]0;title\u{7}a", "a"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}Pdevice\u{1b}\\b", "b"),
            ("\u{1b}(Bc", "c"),
            ("a\r\nb", "a\nb"),
            ("10%\r20%\r", "10%\n20%\n"),
            ("\u{9b}2Jd\u{8}\u{7}\u{0}", "d"),
            ("e\u{202e}f", "ef"),
        ] {
            let mut filter = Filter::default();
            assert_eq!(filter.push(given.as_bytes()) + &filter.finish(), shown, "{given:?}");
        }
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(inert("a\nb\u{1b}[31m\tc"), "a b c");
        assert_eq!(log_text(b"\x1b[1mbold", true), "\u{1b}[1mbold\u{1b}[0m");
        assert_eq!(log_text(b"\x1b[1mbold", false), "bold");
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_does_not_matter(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(b"\x1b[];m\r\n\x07\\38\xc2\x9b".to_vec())], 0..60),
            cut: proptest::sample::Index,
        ) {
            let mut whole = Filter::default();
            let expected = whole.push(&bytes) + &whole.finish();
            let cut = cut.index(bytes.len() + 1);
            let mut parts = Filter::default();
            let text = parts.push(&bytes[..cut]) + &parts.push(&bytes[cut..]) + &parts.finish();
            prop_assert_eq!(&text, &expected);
        }

        #[test]
        fn nothing_but_colours_gets_through(text: String) {
            let mut filter = Filter::default();
            let shown = filter.push(text.as_bytes()) + &filter.finish();
            for piece in shown.split('\u{1b}').skip(1) {
                let end = piece.find('m').expect("a colour ends");
                prop_assert!(piece.starts_with('[') && is_colour(&piece[1..end]), "{piece:?}");
            }
            prop_assert!(!inert(&text).chars().any(char::is_control));
        }
    }
}
