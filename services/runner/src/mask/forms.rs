//! The forms of a value: how it may look once a program has encoded it.
//!
//! Owns the list. Pure. A form is an exact sequence of bytes; what no sequence can say (compression, encryption, one
//! character a line) is not hidden. Invariant: every form is long enough not to stand everywhere by chance.

use std::collections::BTreeMap;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, Encoding};

/// The fewest bytes of a form.
const MIN: usize = 4;

/// The fewest bytes of an encoded form that a patch is searched for: a shorter one stands in binary files by chance.
const MIN_ENCODED_IN_PATCH: usize = 8;

/// The fewest bytes of a part of a value that a patch is searched for: a shorter one may be no secret of its own.
const MIN_PART_IN_PATCH: usize = 16;

/// The fewest characters of a piece of encoded text that was broken into lines.
const MIN_PIECE: usize = 6;

/// Where `base64` and PEM break lines, and where `xxd -p` does.
const BASE64_WIDTHS: [usize; 2] = [76, 64];
const HEX_WIDTH: usize = 60;

/// The forms of a value, and whether a patch must not hold them.
pub(super) fn of(value: &str) -> BTreeMap<Vec<u8>, bool> {
    let mut forms = Forms::default();
    let trimmed = value.trim_end_matches(['\r', '\n']);
    forms.whole(value.as_bytes());
    forms.whole(trimmed.as_bytes());
    // As `echo` passes it on.
    forms.base64(format!("{trimmed}\n").as_bytes());
    if value.contains('\n') {
        value.lines().for_each(|line| forms.line(line));
    }
    forms.0
}

#[derive(Default)]
struct Forms(BTreeMap<Vec<u8>, bool>);

impl Forms {
    fn add(&mut self, form: impl Into<Vec<u8>>, in_patch: bool) {
        let form = form.into();
        if form.len() >= MIN {
            *self.0.entry(form).or_default() |= in_patch;
        }
    }

    fn encoded(&mut self, form: impl Into<Vec<u8>>) {
        let form = form.into();
        let in_patch = form.len() >= MIN_ENCODED_IN_PATCH;
        self.add(form, in_patch);
    }

    /// One line of a value. The first and last of a PEM block are no secret.
    fn line(&mut self, line: &str) {
        let line = line.trim();
        if !line.starts_with("-----") {
            self.add(line, line.len() >= MIN_PART_IN_PATCH);
        }
    }

    fn whole(&mut self, data: &[u8]) {
        self.add(data, true);
        self.base64(data);
        for hex in [hex::encode(data), hex::encode_upper(data)] {
            self.pieces(&hex, HEX_WIDTH);
            self.encoded(hex);
        }
        for keep in KEPT {
            for upper in [true, false] {
                self.encoded(url(data, keep, upper));
            }
        }
        for options in 0..16u8 {
            self.encoded(json(&String::from_utf8_lossy(data), options));
        }
    }

    fn base64(&mut self, data: &[u8]) {
        for (padded, bare) in [(BASE64, BASE64_NOPAD), (BASE64URL, BASE64URL_NOPAD)] {
            for before in 0..3 {
                self.encoded(core(&bare, data, before));
                // Where the data ends here, its last character is known too.
                for encoding in [&padded, &bare] {
                    let text = encoding.encode(&[&[0; 3][..before], data].concat());
                    self.encoded(&text[first(before)..]);
                }
            }
            let text = padded.encode(data);
            BASE64_WIDTHS.iter().for_each(|width| self.pieces(&text, *width));
        }
    }

    /// The lines of a text that is broken at a width.
    fn pieces(&mut self, text: &str, width: usize) {
        if text.len() > width {
            for piece in text.as_bytes().chunks(width).filter(|piece| piece.len() >= MIN_PIECE) {
                self.add(piece, piece.len() >= MIN_PART_IN_PATCH);
            }
        }
    }
}

/// The first character of base64 that depends on nothing before the data, when this many bytes stand there.
const fn first(before: usize) -> usize {
    (before * 8).div_ceil(6)
}

/// The characters of base64 that are the same whatever stands before and behind the data.
fn core(encoding: &Encoding, data: &[u8], before: usize) -> String {
    let text = encoding.encode(&[&[0; 3][..before], data].concat());
    let last = (before + data.len()) * 8 / 6;
    text.get(first(before)..last).unwrap_or_default().to_owned()
}

/// What an encoder of URLs leaves as it is, beside letters, digits, `-`, `.` and `_`.
const KEPT: [&[u8]; 7] = [
    b"~",
    b"~/",
    b"~!*'()",
    b"~!*'();/?:@&=+$,#",
    // A form: a space becomes a plus.
    b"* ",
    // Older encoders.
    b"",
    // Everything is encoded.
    b"%",
];

fn url(data: &[u8], keep: &[u8], upper: bool) -> Vec<u8> {
    let everything = keep == b"%";
    let mut text = Vec::new();
    for byte in data {
        let plain = byte.is_ascii_alphanumeric() || b"-._".contains(byte) || keep.contains(byte);
        match byte {
            b' ' if keep.contains(&b' ') => text.push(b'+'),
            _ if plain && !everything => text.push(*byte),
            _ if upper => text.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            _ => text.extend_from_slice(format!("%{byte:02x}").as_bytes()),
        }
    }
    text
}

/// A JSON string without its quotes. Encoders differ in what they escape beyond what they must.
fn json(text: &str, options: u8) -> String {
    let has = |bit: u8| options & (1 << bit) != 0;
    let (ascii, slash, html, upper) = (has(0), has(1), has(2), has(3));
    let escaped = |code: u32| if upper { format!("\\u{code:04X}") } else { format!("\\u{code:04x}") };
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if slash => out.push_str("\\/"),
            '<' | '>' | '&' if html => out.push_str(&escaped(u32::from(c))),
            _ if c < ' ' => out.push_str(&escaped(u32::from(c))),
            _ if ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&escaped(u32::from(*unit)));
                }
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(value: &str, form: &str) -> bool {
        of(value).contains_key(form.as_bytes())
    }

    #[test]
    fn a_value_is_known_in_what_common_encoders_make_of_it() {
        let value = "p\u{e4}ss/w<rd&\"1\" ~";
        for form in [
            value,
            "cMOkc3MvdzxyZCYiMSIgfg==",
            "cMOkc3MvdzxyZCYiMSIgfg",
            "70c3a473732f773c726426223122207e",
            "70C3A473732F773C726426223122207E",
            "p%C3%A4ss%2Fw%3Crd%26%221%22%20~",
            "p%c3%a4ss%2fw%3crd%26%221%22%20~",
            "p%C3%A4ss/w%3Crd%26%221%22%20~",
            "p%C3%A4ss%2Fw%3Crd%26%221%22+%7E",
            "p\u{e4}ss/w<rd&\\\"1\\\" ~",
            "p\\u00e4ss\\/w<rd&\\\"1\\\" ~",
            "p\\u00E4ss/w\\u003Crd\\u0026\\\"1\\\" ~",
        ] {
            assert!(has(value, form), "{form}");
        }
    }

    #[test]
    fn base64_is_known_whatever_stands_around_it() {
        let value = "correct-horse";
        for (before, behind) in [("", ""), ("a", ""), ("ab", "c"), ("abc", "cd"), ("user:", "\n")] {
            for encoding in [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD] {
                let text = encoding.encode(format!("{before}{value}{behind}").as_bytes());
                let known = of(value)
                    .keys()
                    .filter(|form| form.len() > 12)
                    .any(|form| text.as_bytes().windows(form.len()).any(|window| window == form.as_slice()));
                assert!(known, "{text}");
            }
        }
    }

    #[test]
    fn long_base64_is_known_line_by_line() {
        let value = "0123456789".repeat(20);
        let text = BASE64.encode(format!("{value}\n").as_bytes());
        for line in text.as_bytes().chunks(76) {
            assert!(of(&value).contains_key(line), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn lines_of_a_key_are_known_and_its_frame_is_not_one() {
        let forms = of("-----BEGIN KEY-----\n  MIIEvQIBADANBgkqhkiG\nab\n-----END KEY-----\n");
        assert_eq!(forms.get(b"MIIEvQIBADANBgkqhkiG".as_slice()), Some(&true));
        assert!(
            !forms.contains_key(b"-----BEGIN KEY-----".as_slice()) && !forms.contains_key(b"ab".as_slice())
        );
    }

    #[test]
    fn a_patch_is_not_searched_for_what_stands_there_by_chance() {
        let forms = of("ab1!");
        assert_eq!(forms.get(b"ab1!".as_slice()), Some(&true));
        assert_eq!(forms.get(b"YWIxI".as_slice()), Some(&false));
    }
}
