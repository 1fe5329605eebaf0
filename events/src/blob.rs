//! References to blobs: bytes too large for an event, stored beside the log and named by their content.
//!
//! Owns the name of a blob and the size of its chunks. Never holds the bytes.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most bytes that one chunk holds: half of the broker's default payload limit, which leaves room for headers.
pub const CHUNK_BYTES: usize = 512 * 1024;

/// What a blob is; the second token of its subject, so that rights can be given by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlobKind {
    /// A git packfile with one commit, its trees and its blobs.
    Source,
    /// What `git apply` reads.
    Patch,
    /// The sealed log of one attempt.
    Log,
    /// A resolved scope: a [`crate::document::Scope`] of an execution or a [`crate::document::Preview`], as JSON.
    Scope,
    /// A plan's content: a [`crate::document::Plan`] as JSON.
    Plan,
    /// The files that an action's steps mount: a tar archive, compressed by zstd.
    Files,
    /// The hash of a user's password, as a PHC string: only the gateway writes and reads it. Events name it by a
    /// [`crate::user::PasswordRef`], so that no other event can.
    #[schemars(skip)]
    Password,
    /// What steps came to, as runners write and read it. The only kind that is thrown away for want of room, and by age; so
    /// no event names one.
    #[schemars(skip)]
    Result,
}

impl BlobKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Source,
        Self::Patch,
        Self::Log,
        Self::Scope,
        Self::Plan,
        Self::Files,
        Self::Password,
        Self::Result,
    ];

    /// The subject token.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Patch => "patch",
            Self::Log => "log",
            Self::Scope => "scope",
            Self::Plan => "plan",
            Self::Files => "files",
            Self::Password => "password",
            Self::Result => "result",
        }
    }
}

/// A SHA-256 digest: 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(String);

impl Sha256 {
    /// Writes out a digest's 32 bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 digest of 64 lower-case hexadecimal digits")]
pub struct InvalidSha256(pub String);

impl FromStr for Sha256 {
    type Err = InvalidSha256;

    fn from_str(text: &str) -> Result<Self, InvalidSha256> {
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex && text.len() == 64 { Ok(Self(text.to_owned())) } else { Err(InvalidSha256(text.to_owned())) }
    }
}

impl TryFrom<String> for Sha256 {
    type Error = InvalidSha256;

    fn try_from(text: String) -> Result<Self, InvalidSha256> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> String {
        digest.0
    }
}

/// Where a blob is and how to know that it is whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct BlobRef {
    /// What it is.
    pub kind: BlobKind,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
}

impl BlobRef {
    /// How many chunks hold it, numbered from 0. An empty blob has none.
    pub const fn chunks(&self) -> u64 {
        self.size.div_ceil(CHUNK_BYTES as u64)
    }
}
