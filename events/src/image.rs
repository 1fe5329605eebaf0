//! Images: which one a name means for an execution.
//!
//! Owns the words for it. A name such as `alpine:3` means another image whenever its tag moves; a digest never does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What every digest begins with.
const ALGORITHM: &str = "sha256:";

/// What the reference of an image means for all jobs of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImagePin {
    /// The image as the definition names it, with its templates filled in.
    pub reference: String,
    /// What an engine runs: `NAME@sha256:…`, which any runner can pull, or `sha256:…`, the id of an image that came from no
    /// registry.
    pub digest: String,
}

impl ImagePin {
    /// Whether the digest is one, and if it can be pulled, from the repository that the reference names.
    pub fn is_sound(&self) -> bool {
        match self.digest.split_once('@') {
            Some((name, digest)) => is_digest(digest) && is_same_repository(name, &self.reference),
            None => is_digest(&self.digest),
        }
    }
}

/// Whether a text is a digest and nothing else, as an image's id is.
pub fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix(ALGORITHM).is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

/// Whether two references name one repository, whatever their tags and digests.
pub fn is_same_repository(one: &str, other: &str) -> bool {
    repository(one) == repository(other)
}

/// The repository of a reference, as the engine shortens it: `docker.io/library/alpine:3` is of `alpine`.
fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    // A colon before the last slash belongs to the port of a registry.
    let from = name.rfind('/').map_or(0, |slash| slash + 1);
    let name = name[from..].find(':').map_or(name, |colon| &name[..from + colon]);
    let hub = ["docker.io/", "index.docker.io/"].iter().find_map(|host| name.strip_prefix(host));
    let short = hub.unwrap_or(name);
    short.strip_prefix("library/").unwrap_or(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_repository_has_many_names() {
        for (reference, name) in [
            ("alpine", "alpine"),
            ("alpine:3", "alpine"),
            ("docker.io/library/alpine:3@sha256:00", "alpine"),
            ("index.docker.io/a/b", "a/b"),
            ("library/alpine", "alpine"),
            ("r.example.com:5000/team/tool:1.2", "r.example.com:5000/team/tool"),
            ("localhost:5000/tool", "localhost:5000/tool"),
            ("", ""),
        ] {
            assert_eq!(repository(reference), name, "{reference}");
        }
    }

    #[test]
    fn a_pin_is_a_digest_of_what_it_stands_for() {
        let is_sound =
            |reference: &str, digest: String| ImagePin { reference: reference.to_owned(), digest }.is_sound();
        assert!(is_sound("alpine:3", DIGEST.to_owned()));
        assert!(is_sound("docker.io/library/alpine:3", format!("alpine@{DIGEST}")));
        assert!(!is_sound("alpine:3", format!("r.example.com/alpine@{DIGEST}")));
        assert!(!is_sound("alpine:3", "alpine:4".to_owned()));
        assert!(!is_sound("alpine:3", DIGEST.to_uppercase()));
        assert!(!is_sound("alpine:3", format!("alpine@{}", &DIGEST[..20])));
        assert!(!is_sound("alpine:3", format!("{DIGEST}0")));
    }
}
