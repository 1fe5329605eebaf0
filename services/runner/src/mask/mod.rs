//! The mask: secret values, found in whatever form and hidden.
//!
//! Owns the search for all values of an attempt at once, over bytes that come in pieces. Never keeps more of a stream than the
//! longest form is long. Invariants: the output does not depend on where pieces end; a byte that belongs to no form passes as
//! it is; with no secrets nothing is copied, kept or looked at.

mod forms;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::nfa::contiguous::NFA;
use anyhow::{Context as _, Result};
use bytes::Bytes;

pub(crate) use stream::Stream;

/// What stands in a value's place.
const HIDDEN: &[u8] = b"***";

/// Up to how many bytes of forms every transition is a table look-up; more would need tables of many megabytes.
const TABLE_BYTES: usize = 32 * 1024;

/// Hides the values of an attempt. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Masker(Option<Arc<Patterns>>);

/// All forms of all values as one automaton.
struct Patterns {
    automaton: Search,
    /// How many of the last bytes each state stands for: they may be the beginning of a form.
    depths: HashMap<StateID, usize>,
    /// By the number of the form: whose it is, and whether a patch must not hold it.
    owners: Vec<(Arc<str>, bool)>,
}

enum Search {
    Table(DFA),
    Compact(NFA),
}

impl Masker {
    /// Makes the mask for values by their names.
    ///
    /// # Errors
    /// When they are too large to be searched for.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut forms: BTreeMap<Vec<u8>, (Arc<str>, bool)> = BTreeMap::new();
        for (name, value) in secrets {
            let name: Arc<str> = name.into();
            for (form, in_patch) in forms::of(value) {
                forms.entry(form).or_insert_with(|| (Arc::clone(&name), false)).1 |= in_patch;
            }
        }
        if forms.is_empty() {
            return Ok(Self(None));
        }
        Ok(Self(Some(Arc::new(Patterns::new(forms)?))))
    }

    /// Whether there is nothing to hide.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Hides what is in a text.
    pub(crate) fn text(&self, text: &str) -> String {
        match self.0 {
            None => text.to_owned(),
            Some(_) => {
                String::from_utf8_lossy(&self.whole(Bytes::copy_from_slice(text.as_bytes()))).into_owned()
            }
        }
    }

    /// Hides what is in bytes that are all there.
    pub(crate) fn whole(&self, bytes: Bytes) -> Bytes {
        if self.0.is_none() {
            return bytes;
        }
        let mut stream = Stream::new(self);
        let (shown, rest) = (stream.pass(bytes), stream.finish());
        if rest.is_empty() { shown } else { [shown, rest].concat().into() }
    }

    /// Begins to look for what a patch must not hold; none if there is nothing to look for.
    pub(crate) fn finder(&self) -> Option<Finder<'_>> {
        let patterns = self.0.as_deref()?;
        Some(Finder { patterns, state: patterns.start() })
    }
}

/// Looks for values in bytes that come in pieces.
pub(crate) struct Finder<'a> {
    patterns: &'a Patterns,
    state: StateID,
}

impl<'a> Finder<'a> {
    /// The name of a secret that the bytes so far hold.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Option<&'a str> {
        let patterns = self.patterns;
        let mut found = None;
        self.state = patterns.scan(self.state, bytes, |_, matches| {
            let mut owners = matches.map(|(form, _)| &patterns.owners[form]);
            found = found.or(owners.find(|(_, in_patch)| *in_patch).map(|(name, _)| &**name));
        });
        found
    }
}

impl Patterns {
    fn new(forms: BTreeMap<Vec<u8>, (Arc<str>, bool)>) -> Result<Self> {
        let (forms, owners): (Vec<Vec<u8>>, Vec<_>) = forms.into_iter().unzip();
        let automaton = if forms.iter().map(Vec::len).sum::<usize>() <= TABLE_BYTES {
            DFA::builder().prefilter(false).build(&forms).map(Search::Table)
        } else {
            NFA::builder().prefilter(false).build(&forms).map(Search::Compact)
        };
        let automaton = automaton.context("the secrets are too large to be searched for")?;
        let mut patterns = Self { automaton, depths: HashMap::new(), owners };
        for form in &forms {
            let mut state = patterns.start();
            for (depth, byte) in (1..).zip(form) {
                state = patterns.scan(state, &[*byte], |_, _| {});
                patterns.depths.insert(state, depth);
            }
        }
        Ok(patterns)
    }

    fn start(&self) -> StateID {
        // It is there: no automaton is built for anchored searches alone.
        match &self.automaton {
            Search::Table(table) => table.start_state(Anchored::No).unwrap_or_default(),
            Search::Compact(compact) => compact.start_state(Anchored::No).unwrap_or_default(),
        }
    }

    /// How many of the bytes so far may be the beginning of a form.
    fn depth(&self, state: StateID) -> usize {
        self.depths.get(&state).copied().unwrap_or_default()
    }

    /// Goes on from a state, and tells of each place where forms end: behind which byte, and which forms of which length.
    fn scan(&self, state: StateID, bytes: &[u8], hit: impl FnMut(usize, Matches<'_>)) -> StateID {
        match &self.automaton {
            Search::Table(table) => scan(table, state, bytes, hit),
            Search::Compact(compact) => scan(compact, state, bytes, hit),
        }
    }
}

/// The forms that end at one place, with their lengths.
type Matches<'m> = &'m mut dyn Iterator<Item = (usize, usize)>;

fn scan<A: Automaton>(
    automaton: &A,
    mut state: StateID,
    bytes: &[u8],
    mut hit: impl FnMut(usize, Matches<'_>),
) -> StateID {
    for (end, byte) in (1..).zip(bytes) {
        state = automaton.next_state(Anchored::No, state, *byte);
        if automaton.is_match(state) {
            let mut matches = (0..automaton.match_len(state)).map(|index| {
                let form = automaton.match_pattern(state, index);
                (form.as_usize(), automaton.pattern_len(form))
            });
            hit(end, &mut matches);
        }
    }
    state
}
