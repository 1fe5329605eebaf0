//! Names of git things that cross process borders: object ids and branch references.
//!
//! Owns their checks at the border. Never runs git.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The text is not what git would call by that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct InvalidGitName {
    /// What was given.
    pub text: String,
    /// What was expected.
    pub expected: &'static str,
}

/// An object id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Oid(String);

/// A full branch reference, `refs/heads/…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct BranchRef(String);

impl Oid {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BranchRef {
    /// The full name, with `refs/heads/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that people use, without `refs/heads/`.
    pub fn short(&self) -> &str {
        self.0.strip_prefix("refs/heads/").unwrap_or(&self.0)
    }
}

impl FromStr for Oid {
    type Err = InvalidGitName;

    fn from_str(text: &str) -> Result<Self, InvalidGitName> {
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidGitName {
                text: text.to_owned(),
                expected: "an object id of 40 or 64 hexadecimal digits",
            })
        }
    }
}

impl FromStr for BranchRef {
    type Err = InvalidGitName;

    fn from_str(text: &str) -> Result<Self, InvalidGitName> {
        match text.strip_prefix("refs/heads/") {
            Some(name) if is_valid_branch(name) => Ok(Self(text.to_owned())),
            _ => Err(InvalidGitName {
                text: text.to_owned(),
                expected: "a branch reference, `refs/heads/…`",
            }),
        }
    }
}

/// Whether git takes this as a branch name: the rules of `git check-ref-format --branch`.
pub fn is_valid_branch(name: &str) -> bool {
    let component = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let forbidden =
        |c: char| c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    !name.starts_with('-')
        && name != "@"
        && name != "HEAD"
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(forbidden)
        && name.split('/').all(component)
}

macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = InvalidGitName;

            fn try_from(text: String) -> Result<Self, InvalidGitName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

as_text!(Oid);
as_text!(BranchRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branch_names_follow_git() {
        for good in ["main", "a/b", "v1.2", "feature/a-b_c", "ünï", "a@b"] {
            assert!(is_valid_branch(good), "{good}");
        }
        for bad in [
            "", "-x", "@", "HEAD", "a..b", "a.", ".a", "a/.b", "a.lock", "a.lock/b", "a//b", "/a", "a/",
            "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a@{b", "a\u{7f}", "a\n",
        ] {
            assert!(!is_valid_branch(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_reference_is_full_and_an_oid_is_hexadecimal() {
        assert!("main".parse::<BranchRef>().is_err());
        assert!("refs/tags/v1".parse::<BranchRef>().is_err());
        assert_eq!("refs/heads/a/b".parse::<BranchRef>().map(|r| r.short().to_owned()), Ok("a/b".to_owned()));
        assert!("A94A8FE5CCB19BA61C4C0873D391E987982FBBD3".parse::<Oid>().is_err());
        assert!("a94a8fe5ccb19ba61c4c0873d391e987982fbbd3".parse::<Oid>().is_ok());
    }
}
