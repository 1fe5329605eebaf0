//! Names for the patches of a plan, where each becomes a file: in an export, in an archive, in a download.
//!
//! Owns their safety: whatever repositories and branches are called, a name is one plain part of a path, the same at
//! each export, and no two are the same on any file system.

use std::collections::HashSet;

/// How long each half of a name may be.
const MAX_CHARACTERS: usize = 80;

/// A name for each pair of repository and branch, in their order: `REPOSITORY--BRANCH.patch`.
///
/// The same pairs have the same names, whoever asks.
pub fn patch_names<'a>(changesets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut taken = HashSet::new();
    changesets
        .into_iter()
        .map(|(repository, branch)| {
            let stem = format!("{}--{}", plain(repository, "repository"), plain(branch, "branch"));
            let mut name = format!("{stem}.patch");
            let mut number = 2u64;
            // Upper and lower case are the same to some file systems.
            while !taken.insert(name.to_lowercase()) {
                name = format!("{stem}-{number}.patch");
                number += 1;
            }
            name
        })
        .collect()
}

/// The part of a text that is safe in a file's name everywhere.
fn plain(text: &str, empty: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => plain.push(character),
            // Never at the beginning, where they hide a file or look like an option, and never twice.
            _ if plain.is_empty() || plain.ends_with(['-', '.']) => {}
            '.' => plain.push('.'),
            _ => plain.push('-'),
        }
    }
    plain.truncate(MAX_CHARACTERS);
    let plain = plain.trim_end_matches(['-', '.']);
    if plain.is_empty() { empty.to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_say_what_they_hold() {
        let names = patch_names([
            ("github.com/acme/north", "fix/links"),
            ("github.com/acme/north", "fix-links"),
            ("../../etc/passwd", "-rf"),
            ("…", ""),
        ]);
        assert_eq!(
            names,
            [
                "github.com-acme-north--fix-links.patch",
                "github.com-acme-north--fix-links-2.patch",
                "etc-passwd--rf.patch",
                "repository--branch.patch",
            ]
        );
    }

    proptest! {
        #[test]
        fn names_are_safe_and_unique(changesets in proptest::collection::vec(("[aA./-]{0,4}|.*", "[aA2-]{0,3}|.*"), 0..20)) {
            let names = patch_names(changesets.iter().map(|(a, b)| (a.as_str(), b.as_str())));
            prop_assert_eq!(names.len(), changesets.len());
            let mut seen = HashSet::new();
            for name in &names {
                prop_assert!(name.len() <= 200 && name.ends_with(".patch"), "{}", name);
                prop_assert!(!name.starts_with(['.', '-']) && !name.contains(".."), "{}", name);
                let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
                prop_assert!(name.bytes().all(safe), "{}", name);
                prop_assert!(seen.insert(name.to_lowercase()), "{} twice", name);
            }
        }
    }
}
