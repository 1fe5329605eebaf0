//! Globs on names: `*`, `?`, `[a-z]`, `[!a]`, `{a,b}` and `\` before any of them.
//!
//! Owns the pattern language of batch specs, where a star also crosses `/` and `**` means no more than `*`: crates
//! for globs on paths give both another meaning. Invariant: matching costs at most pattern times text.

/// How deep `{…}` may nest.
const MAX_DEPTH: usize = 16;

/// A parsed pattern: a small automaton.
#[derive(Clone, Debug, PartialEq)]
pub struct Glob {
    pattern: String,
    states: Vec<State>,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// Takes one character of a set.
    One(Set),
    /// Takes any character and stays, or goes on.
    Any,
    /// Goes on at each of these states.
    Fork(Vec<usize>),
    /// Goes on at this state.
    Jump(usize),
}

#[derive(Clone, Debug, PartialEq)]
enum Set {
    Every,
    Only(char),
    Ranges { negated: bool, ranges: Vec<(char, char)> },
}

impl Set {
    fn contains(&self, c: char) -> bool {
        match self {
            Self::Every => true,
            Self::Only(only) => *only == c,
            Self::Ranges { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
        }
    }
}

impl Glob {
    /// Parses a pattern; an error says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, &'static str> {
        let mut parser = Parser { rest: pattern.chars(), states: Vec::new(), depth: 0 };
        parser.sequence()?;
        Ok(Self { pattern: pattern.to_owned(), states: parser.states })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let mut current = vec![false; self.states.len() + 1];
        self.enter(0, &mut current);
        for c in text.chars() {
            let mut next = vec![false; self.states.len() + 1];
            for (at, state) in self.states.iter().enumerate().filter(|(at, _)| current[*at]) {
                match state {
                    State::One(set) if set.contains(c) => self.enter(at + 1, &mut next),
                    State::Any => self.enter(at, &mut next),
                    _ => {}
                }
            }
            current = next;
        }
        current[self.states.len()]
    }

    /// Marks a state and all that are reached from it without a character.
    fn enter(&self, start: usize, marked: &mut [bool]) {
        let mut pending = vec![start];
        while let Some(at) = pending.pop() {
            if std::mem::replace(&mut marked[at], true) {
                continue;
            }
            match self.states.get(at) {
                Some(State::Any) => pending.push(at + 1),
                Some(State::Fork(targets)) => pending.extend(targets),
                Some(State::Jump(target)) => pending.push(*target),
                _ => {}
            }
        }
    }
}

struct Parser<'p> {
    rest: std::str::Chars<'p>,
    states: Vec<State>,
    depth: usize,
}

impl Parser<'_> {
    /// Parses up to the end, or up to a `,` or `}` that ends an alternative, which is given back.
    fn sequence(&mut self) -> Result<Option<char>, &'static str> {
        while let Some(c) = self.rest.next() {
            let state = match c {
                '*' => State::Any,
                '?' => State::One(Set::Every),
                '[' => State::One(self.class()?),
                '{' => {
                    self.alternatives()?;
                    continue;
                }
                '}' | ',' if self.depth > 0 => return Ok(Some(c)),
                '\\' => State::One(Set::Only(self.rest.next().ok_or("a `\\` at the end")?)),
                _ => State::One(Set::Only(c)),
            };
            // Two stars in a row take what one takes.
            if state != State::Any || self.states.last() != Some(&State::Any) {
                self.states.push(state);
            }
        }
        Ok(None)
    }

    fn alternatives(&mut self) -> Result<(), &'static str> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("`{…}` is nested too deeply");
        }
        let fork = self.states.len();
        self.states.push(State::Fork(Vec::new()));
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        loop {
            starts.push(self.states.len());
            let end = self.sequence()?.ok_or("`{` without `}`")?;
            ends.push(self.states.len());
            self.states.push(State::Jump(0));
            if end == '}' {
                break;
            }
        }
        let after = self.states.len();
        for end in ends {
            self.states[end] = State::Jump(after);
        }
        self.states[fork] = State::Fork(starts);
        self.depth -= 1;
        Ok(())
    }

    fn class(&mut self) -> Result<Set, &'static str> {
        const OPEN: &str = "`[` without `]`";
        let mut ranges = Vec::new();
        let mut next = self.rest.next().ok_or(OPEN)?;
        let negated = next == '!';
        if negated {
            next = self.rest.next().ok_or(OPEN)?;
        }
        while next != ']' {
            let first = if next == '\\' { self.rest.next().ok_or(OPEN)? } else { next };
            let mut ahead = self.rest.clone();
            let last = match (ahead.next(), ahead.next()) {
                (Some('-'), Some(last)) if last != ']' => {
                    self.rest = ahead;
                    if last == '\\' { self.rest.next().ok_or(OPEN)? } else { last }
                }
                _ => first,
            };
            if first > last {
                return Err("a range in `[…]` is the wrong way round");
            }
            ranges.push((first, last));
            next = self.rest.next().ok_or(OPEN)?;
        }
        if ranges.is_empty() { Err("`[…]` is empty") } else { Ok(Set::Ranges { negated, ranges }) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use proptest::prelude::*;

    use super::*;

    /// What the pattern language means, said as simply as possible: without `[…]`, in exponential time.
    fn meant(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|taken| meant(rest, &text[taken..])),
            ['?', rest @ ..] => !text.is_empty() && meant(rest, &text[1..]),
            ['{', rest @ ..] => {
                let end = rest.iter().position(|c| *c == '}').unwrap();
                let mut alternatives = rest[..end].split(|c| *c == ',');
                alternatives.any(|alternative| meant(&[alternative, &rest[end + 1..]].concat(), text))
            }
            [c, rest @ ..] => text.first() == Some(c) && meant(rest, &text[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_glob_matches_what_it_means(
            pattern in "([ab/*?]|\\{[ab*?]{0,2}(,[ab*?]{0,2}){0,2}\\}){0,6}",
            text in "[ab/]{0,8}",
        ) {
            let chars: Vec<char> = pattern.chars().collect();
            let expected = meant(&chars, &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(Glob::new(&pattern).unwrap().matches(&text), expected);
        }

        #[test]
        fn any_pattern_is_parsed_or_refused(pattern in "[\\[\\]{},!*?\\\\a-]{0,20}", text in any::<String>()) {
            if let Ok(glob) = Glob::new(&pattern) {
                glob.matches(&text);
            }
        }
    }

    #[test]
    fn a_pattern_that_is_not_one_is_refused() {
        for pattern in ["[", "[]", "[!]", "[b-a]", "{", "{a,", "a\\", "[\\", &"{".repeat(17)] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
        assert!(Glob::new("a}b,c]").is_ok_and(|glob| glob.matches("a}b,c]")));
    }
}
