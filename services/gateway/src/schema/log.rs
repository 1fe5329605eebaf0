//! Lines of logs as they are shown.

use async_graphql::SimpleObject;

use super::scalar::{Sequence, int};
use crate::stream::lines::Lines;

/// Lines of an attempt's log that came together: 1,000 at most, and about 256 KiB.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct LogLines {
    /// Which attempt's log it is.
    attempt: i32,
    /// The number of the first of these lines, from 1.
    first_line: Sequence,
    /// The lines, without line feeds, as text: bytes that are no UTF-8 are replaced, and of a line longer than 64 KiB the rest
    /// is counted only. `GET /jobs/{id}/log` has every byte.
    lines: Vec<String>,
    /// The line to go on with: as `fromLine` after a break it brings what comes next, nothing twice.
    next_line: Sequence,
    /// Whether this is the end of the log.
    ended: bool,
}

impl From<Lines> for LogLines {
    fn from(lines: Lines) -> Self {
        Self {
            attempt: int(lines.attempt.into()),
            first_line: Sequence(lines.first_line),
            next_line: Sequence(lines.next_line()),
            ended: lines.ended,
            lines: lines.lines,
        }
    }
}
