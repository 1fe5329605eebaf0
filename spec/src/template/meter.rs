//! Bounds: how much work a template may do and how much it may produce.
//!
//! Owns the budget of one rendering. Every evaluation and every byte that is made is paid for here, so that a
//! rendering ends in well under a second and within a few hundred megabytes, whatever the template.

use super::fault::RenderFault;

/// The largest result, and the largest text on the way to it, in bytes.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// The longest list.
pub(super) const MAX_ITEMS: usize = 1 << 18;

const WORK: u64 = 4_000_000;
const BYTES_PER_UNIT: usize = 64;

/// What is left of the budget.
#[derive(Debug)]
pub(super) struct Meter {
    left: u64,
}

impl Meter {
    pub(super) const fn new() -> Self {
        Self { left: WORK }
    }

    /// Pays for one evaluation that reads or makes this many bytes.
    pub(super) fn pay(&mut self, bytes: usize) -> Result<(), RenderFault> {
        let cost = 1 + (bytes / BYTES_PER_UNIT) as u64;
        self.left = self.left.checked_sub(cost).ok_or(RenderFault::TooMuchWork)?;
        Ok(())
    }

    /// Pays for a text of this many bytes, and refuses one that is too large before it is made.
    pub(super) fn make(&mut self, bytes: usize) -> Result<(), RenderFault> {
        if bytes > MAX_BYTES {
            return Err(RenderFault::TooLarge { limit: MAX_BYTES });
        }
        self.pay(bytes)
    }
}

/// Adds to a text, and refuses to let it grow too large.
pub(super) fn append(output: &mut String, text: &str) -> Result<(), RenderFault> {
    if output.len() + text.len() > MAX_BYTES {
        return Err(RenderFault::TooLarge { limit: MAX_BYTES });
    }
    output.push_str(text);
    Ok(())
}
