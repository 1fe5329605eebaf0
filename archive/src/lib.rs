//! An action's files as one archive: chosen, packed, checked, unpacked.
//!
//! Owns the format and what may be in it. Never knows where an archive comes from or goes to. The format is tar, compressed
//! by zstd, with folders, plain files and links alone, in the order of their paths. Of a file's mode only the right to
//! execute counts, and of times and owners nothing, so that the same files are the same bytes wherever they were packed.
//! Invariant: whatever the bytes, nothing is written outside of the folder that is unpacked into, and memory is bounded.

mod choose;
mod error;
mod limits;
mod pack;
mod path;
mod read;
mod unpack;

pub use choose::{Choice, LeftOut, Refusal};
pub use error::Error;
pub use limits::{DEFAULT_PACKED_BYTES, Limits};
pub use pack::Packed;
pub use read::{Contents, Listed, ListedKind, check, list};
pub use unpack::unpack;
