//! One stream of bytes on its way through the mask.
//!
//! Owns the bytes that may be the beginning of a form: they are held back until the next ones tell. All bytes that belong to a
//! form are hidden, also where forms overlap, so that no rest of one stays visible.

use aho_corasick::automaton::StateID;
use bytes::Bytes;

use super::{HIDDEN, Masker};

/// The state of one stream.
pub(crate) struct Stream {
    masker: Masker,
    state: StateID,
    held: Vec<u8>,
    /// What is to be hidden of the held bytes, in order and without overlaps.
    hidden: Vec<Hidden>,
}

/// Bytes to hide, counted from the first that is held.
#[derive(Clone, Copy, Debug)]
struct Hidden {
    start: usize,
    end: usize,
    /// Whether it belongs to what was hidden right before the held bytes, and is hidden with it.
    goes_on: bool,
}

impl Stream {
    /// At the beginning of a stream.
    pub(crate) fn new(masker: &Masker) -> Self {
        let state = masker.0.as_ref().map_or_else(StateID::default, |patterns| patterns.start());
        Self { masker: masker.clone(), state, held: Vec::new(), hidden: Vec::new() }
    }

    /// Takes the next bytes, and returns what may be shown.
    pub(crate) fn pass(&mut self, bytes: Bytes) -> Bytes {
        let Some(patterns) = &self.masker.0 else { return bytes };
        let (before, hidden) = (self.held.len(), &mut self.hidden);
        self.state = patterns.scan(self.state, &bytes, |end, matches| {
            let longest = matches.map(|(_, length)| length).max().unwrap_or_default();
            hide(hidden, before + end, longest);
        });
        // Bytes of a form that was hidden already are not held any more.
        let safe = (before + bytes.len()).saturating_sub(patterns.depth(self.state));
        if self.held.is_empty() && self.hidden.is_empty() {
            self.held.extend_from_slice(&bytes[safe..]);
            return bytes.slice(..safe);
        }
        self.held.extend_from_slice(&bytes);
        self.release(safe)
    }

    /// Returns what was held back, at the end of the stream. Another one may begin.
    pub(crate) fn finish(&mut self) -> Bytes {
        let Some(patterns) = &self.masker.0 else { return Bytes::new() };
        self.state = patterns.start();
        // Nothing follows: what is still held is the beginning of nothing.
        let rest = self.release(self.held.len() + 1);
        self.hidden.clear();
        rest
    }

    /// Lets go of what no later byte can make a part of a form that begins before `safe`.
    fn release(&mut self, safe: usize) -> Bytes {
        let mut out = Vec::with_capacity(self.held.len());
        let (mut at, mut done) = (0, 0);
        for hidden in self.hidden.iter().take_while(|hidden| hidden.start < safe) {
            out.extend_from_slice(&self.held[at..hidden.start]);
            if !hidden.goes_on {
                out.extend_from_slice(HIDDEN);
            }
            (at, done) = (hidden.end, done + 1);
        }
        let safe = safe.min(self.held.len());
        if at < safe {
            out.extend_from_slice(&self.held[at..safe]);
            at = safe;
        }
        self.held.drain(..at);
        self.hidden.drain(..done);
        for hidden in &mut self.hidden {
            hidden.start -= at;
            hidden.end -= at;
        }
        out.into()
    }
}

/// Notes that the bytes before `end` are to be hidden, together with what they overlap.
fn hide(hidden: &mut Vec<Hidden>, end: usize, length: usize) {
    let mut new = Hidden { start: end.saturating_sub(length), end, goes_on: length > end };
    while let Some(last) = hidden.last().filter(|last| last.end > new.start) {
        new.start = new.start.min(last.start);
        new.goes_on |= last.goes_on;
        hidden.pop();
    }
    hidden.push(new);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use proptest::prelude::*;
    use proptest::{collection, sample};

    use super::super::forms;
    use super::*;

    fn masker(values: &[String]) -> Masker {
        Masker::new(values.iter().map(|value| ("NAME", value.as_str()))).unwrap()
    }

    fn mask(values: &[&str], pieces: &[&str]) -> String {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let mut stream = Stream::new(&masker(&values));
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&stream.pass(Bytes::copy_from_slice(piece.as_bytes())));
        }
        out.extend_from_slice(&stream.finish());
        String::from_utf8(out).unwrap()
    }

    /// Hides by the definition: every byte that belongs to an occurrence of a form; what touches and does not overlap is two.
    fn by_definition(values: &[String], bytes: &[u8]) -> Vec<u8> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for form in values.iter().flat_map(|value| forms::of(value).into_keys()) {
            let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&form));
            spans.extend(starts.map(|start| (start, start + form.len())));
        }
        spans.sort_unstable();
        let (mut out, mut at) = (Vec::new(), 0);
        let mut rest = spans.into_iter().peekable();
        while let Some((start, mut end)) = rest.next() {
            while let Some((_, next)) = rest.next_if(|(next, _)| *next < end) {
                end = end.max(next);
            }
            out.extend_from_slice(&bytes[at..start]);
            out.extend_from_slice(HIDDEN);
            at = end;
        }
        out.extend_from_slice(&bytes[at..]);
        out
    }

    fn values() -> impl Strategy<Value = Vec<String>> {
        let value = prop_oneof!["[ab]{4,7}", "[ -)+-~]{4,20}", "[a-c\n]{4,24}", "[\u{e4}/<a]{4,9}"];
        collection::vec(value, 1..4)
    }

    /// Text that is full of values, their forms, beginnings of them and letters that they are made of.
    fn output(values: &[String]) -> impl Strategy<Value = Vec<u8>> + use<> {
        let forms: Vec<Vec<u8>> = values.iter().flat_map(|value| forms::of(value).into_keys()).collect();
        let cut = (sample::select(forms.clone()), any::<sample::Index>(), any::<bool>()).prop_map(
            |(form, at, head)| {
                let at = at.index(form.len() + 1);
                if head { form[..at].to_vec() } else { form[at..].to_vec() }
            },
        );
        let part = prop_oneof![
            sample::select(forms),
            cut,
            "[abc ]{0,6}".prop_map(String::into_bytes),
            collection::vec(any::<u8>(), 0..12),
        ];
        collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    fn case() -> impl Strategy<Value = (Vec<String>, Vec<u8>, Vec<sample::Index>)> {
        values().prop_flat_map(|values| {
            let output = output(&values);
            (Just(values), output, collection::vec(any::<sample::Index>(), 0..12))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_bytes_of_all_forms_are_hidden_and_no_others_wherever_pieces_end((values, bytes, cuts) in case()) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut stream = Stream::new(&masker(&values));
            let (mut out, longest) = (Vec::new(), values.iter().flat_map(|v| forms::of(v).into_keys()).map(|f| f.len()).max().unwrap());
            for pair in cuts.windows(2) {
                out.extend_from_slice(&stream.pass(Bytes::copy_from_slice(&bytes[pair[0]..pair[1]])));
                prop_assert!(stream.held.len() <= longest, "{} bytes are held", stream.held.len());
            }
            out.extend_from_slice(&stream.finish());
            prop_assert_eq!(&out, &by_definition(&values, &bytes));
            // A value with stars in it may look as if it stood in what hides others.
            for form in values.iter().filter(|value| !value.contains('*')).flat_map(|value| forms::of(value).into_keys()) {
                prop_assert!(!out.windows(form.len()).any(|window| window == form.as_slice()));
            }
            prop_assert!(stream.held.is_empty() && stream.hidden.is_empty(), "a finished stream is as a new one");
        }
    }

    #[test]
    fn a_value_is_hidden_across_pieces_and_what_is_around_it_is_not() {
        assert_eq!(mask(&["hunter22"], &["a hun", "ter2", "2 b"]), "a *** b");
        assert_eq!(mask(&["hunter22"], &["hunter2", "3 hunter22"]), "hunter23 ***");
        assert_eq!(mask(&["hunter22"], &["aHVudGVyMjI=\n68756e7465723232"]), "***\n***");
        assert_eq!(mask(&["hunter22"], &["hunt"]), "hunt", "the beginning alone is shown at the end");
    }

    #[test]
    fn overlapping_values_leave_no_rest() {
        assert_eq!(mask(&["abcabc"], &["abcab", "cabc."]), "***.");
        assert_eq!(mask(&["abcd", "bcdefghi"], &["abcd", "efghi!"]), "***!");
        assert_eq!(mask(&["aaaa"], &["aaaa", "aaaaaaa", "b"]), "***b");
        assert_eq!(mask(&["abcd"], &["abcd", "abcd"]), "******");
    }

    #[test]
    fn a_line_without_a_value_is_not_held_back() {
        let mut stream = Stream::new(&masker(&["hunter22".to_owned()]));
        assert_eq!(stream.pass(Bytes::from_static(b"all is well\n")).as_ref(), b"all is well\n");
        let text = Bytes::from_static(b"again\n");
        assert_eq!(stream.pass(text.clone()).as_ptr(), text.as_ptr(), "and not copied");
    }

    #[test]
    fn large_values_are_hidden_too() {
        let value: String = (0..16_000u32).map(|n| char::from(b' ' + (n * n % 91) as u8)).collect();
        let masker = masker(std::slice::from_ref(&value));
        assert_eq!(masker.text(&format!("<{value}>")), "<***>");
        assert_eq!(masker.text(&data_encoding::BASE64.encode(value.as_bytes())), "***");
    }
}
