//! Names made of segments with `/` between them, kept so that what is above or below one is found in a walk over it.
//!
//! Owns the tree of segments; what an entry is good for is its user's. An entry holds for one repository or for all.
//! Invariant: whatever is asked costs no more than the length of the name.

use std::collections::BTreeMap;

/// Numbered entries by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Segments {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    children: BTreeMap<Box<str>, usize>,
    /// The newest entries of this very name.
    here: Entries,
    /// The newest entries of longer names that begin with this one.
    below: Entries,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Entries {
    everywhere: Option<usize>,
    by_repository: BTreeMap<Box<str>, usize>,
}

impl Entries {
    fn set(&mut self, repository: Option<&str>, entry: usize) {
        match repository {
            None => self.everywhere = Some(entry),
            Some(repository) => {
                self.by_repository.insert(repository.into(), entry);
            }
        }
    }

    /// The newest that holds for a repository; for no name: the newest that holds for every one.
    fn covering(&self, repository: Option<&str>) -> Option<usize> {
        self.everywhere.max(repository.and_then(|name| self.by_repository.get(name)).copied())
    }

    /// One that holds for a repository; for no name: one that holds for any.
    fn touching(&self, repository: Option<&str>) -> Option<usize> {
        match repository {
            Some(_) => self.covering(repository),
            None => self.everywhere.or_else(|| self.by_repository.values().next().copied()),
        }
    }
}

/// How two names meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// They are the same.
    Same(usize),
    /// This entry's begins with the other, or the other with it.
    Nested(usize),
}

impl Segments {
    /// Adds an entry; entries are added in the order of their numbers. Empty segments of a name mean nothing.
    pub(crate) fn insert(&mut self, name: &str, repository: Option<&str>, entry: usize) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for segment in segments(name) {
            self.nodes[at].below.set(repository, entry);
            at = match self.nodes[at].children.get(segment) {
                Some(child) => *child,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].children.insert(segment.into(), child);
                    child
                }
            };
        }
        self.nodes[at].here.set(repository, entry);
    }

    /// The newest entry whose name is this one or the beginning of it, and that holds for a repository; for no name: for
    /// every repository.
    pub(crate) fn newest_above(&self, name: &str, repository: Option<&str>) -> Option<usize> {
        self.path(name).filter_map(|(node, _)| node.here.covering(repository)).max()
    }

    /// An entry whose name is this one, begins with it, or is the beginning of it, and that holds for a repository; for
    /// no name: for any repository.
    pub(crate) fn meeting(&self, name: &str, repository: Option<&str>) -> Option<Meeting> {
        let mut meets = None;
        for (node, is_whole) in self.path(name) {
            let here = node.here.touching(repository);
            meets = match (here, is_whole) {
                (Some(entry), true) => Some(Meeting::Same(entry)),
                (Some(entry), false) => meets.or(Some(Meeting::Nested(entry))),
                (None, true) => meets.or(node.below.touching(repository).map(Meeting::Nested)),
                (None, false) => meets,
            };
        }
        meets
    }

    /// The nodes from the root on along a name, and whether each stands for the whole of it.
    fn path<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (&'s Node, bool)> {
        let mut rest = segments(name).peekable();
        let mut next = self.nodes.first();
        std::iter::from_fn(move || {
            let node = next?;
            let segment = rest.next();
            next = segment.and_then(|segment| node.children.get(segment)).map(|child| &self.nodes[*child]);
            Some((node, segment.is_none()))
        })
    }
}

fn segments(name: &str) -> impl Iterator<Item = &str> {
    name.split('/').filter(|segment| !segment.is_empty())
}
