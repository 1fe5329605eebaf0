//! Limits: how much an archive may hold.
//!
//! Owns the figures, and how a size is written for people.

use events::Rejection;
use events::rejection::Code;

/// The most bytes of a packed archive unless it is set otherwise.
pub const DEFAULT_PACKED_BYTES: u64 = 100_000_000;

/// The most files, folders and links together.
const ENTRIES: u64 = 100_000;

/// What an archive may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes when it is packed.
    pub packed_bytes: u64,
    /// The most bytes when it is unpacked, counted as tar writes them.
    pub unpacked_bytes: u64,
    /// The most files, folders and links together.
    pub entries: u64,
}

impl Limits {
    /// For archives of so many bytes: text and programs become a tenth at best, and what shrinks more is no work but a trap.
    pub const fn of(packed_bytes: u64) -> Self {
        Self { packed_bytes, unpacked_bytes: packed_bytes.saturating_mul(10), entries: ENTRIES }
    }

    pub(crate) fn too_many_bytes(limit: u64, packed: bool) -> Rejection {
        let (limit, packed) = (shown(limit), if packed { "packed" } else { "unpacked" });
        too_large(format!("the mounted files have more than {limit} {packed}"))
    }

    pub(crate) fn too_many_entries(&self) -> Rejection {
        too_large(format!("the mounted folders hold more than {} files and folders", self.entries))
    }
}

fn too_large(message: String) -> Rejection {
    let hint =
        "Mount less, or list in `.batchignore` what no step needs. The server's `--files-limit` allows more.";
    Rejection::new(Code::FilesTooLarge, message, hint)
}

/// A number of bytes as people read it.
pub(crate) fn shown(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
