//! The event log as lines of JSON, to where it ends or as it goes on.
//!
//! Owns where it begins so that the last events come first, and where it ends for whoever does not stay. Memory is bounded by
//! how many of the last events are asked for.

use std::collections::VecDeque;

use axum::body::Bytes;
use broker::{Broker, Follower, Message, Start};
use futures::stream::{self, Stream};

use super::events::{Begin, documents, reached};
use super::selection::Selection;
use crate::fault::Fault;

/// The most of the last events that may be asked for.
const LAST: usize = 1_000;

/// What somebody wants of the log.
pub(crate) struct Wanted {
    pub(crate) selection: Selection,
    pub(crate) from: From,
    /// Whether they stay for what happens then.
    pub(crate) follow: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// At a place.
    Place(Begin),
    /// With so many of the last events of the selection.
    Last(usize),
}

/// One JSON document a line.
///
/// # Errors
/// A rejection when the log has not reached the place, or when too many of the last events are asked for.
pub(crate) async fn read(
    broker: &Broker,
    wanted: Wanted,
) -> Result<impl Stream<Item = Result<Bytes, Fault>> + Send + use<>, Fault> {
    let Wanted { selection, from, follow } = wanted;
    let end = broker.last_sequence().await?;
    let (start, held) = match from {
        From::Last(count) if count > LAST => {
            let message = format!("`last` is {count}, which is too many");
            return Err(Fault::invalid(
                message,
                format!("Ask for {LAST} at most, or for all from a place on."),
            ));
        }
        From::Last(count) => last(count, end, selection.is_everything()),
        From::Place(Begin::Now) => (Start::After(end), None),
        From::Place(Begin::Time(time)) => (Start::Time(time), None),
        From::Place(Begin::After(after)) => {
            reached(broker, after).await?;
            (Start::After(after), None)
        }
    };
    // Nothing would ever say that there is nothing.
    let over = !follow && matches!(start, Start::After(after) if after >= end);
    let follower = broker.relay_events(&selection.subjects, start);
    let reader = Reader { selection, follower, end, follow, held, over };
    Ok(stream::try_unfold(
        reader,
        |mut reader| async move { Ok(reader.next().await?.map(|part| (part, reader))) },
    ))
}

/// Where to begin so that the last events come first. The log has no gaps, so that all of them can be counted from its end;
/// those of a selection have to be looked for.
fn last(count: usize, end: u64, everything: bool) -> (Start, Option<Held>) {
    if count == 0 {
        return (Start::After(end), None);
    }
    if everything {
        return (Start::After(end.saturating_sub(count as u64)), None);
    }
    (Start::After(0), Some(Held { count, messages: VecDeque::new() }))
}

/// Events that are held until the end of the log, so that only the last of them are shown.
struct Held {
    count: usize,
    messages: VecDeque<Message>,
}

impl Held {
    fn take(&mut self, message: Message) {
        if self.messages.len() == self.count {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }
}

struct Reader {
    selection: Selection,
    follower: Follower,
    /// Where the log ended when it was asked for.
    end: u64,
    follow: bool,
    held: Option<Held>,
    over: bool,
}

impl Reader {
    /// The next lines; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        while !self.over {
            let batch = self.follower.next().await?;
            let mut at_end = batch.pending == 0;
            let mut shown = Vec::new();
            for message in batch.messages {
                if !self.follow && message.sequence > self.end {
                    at_end = true;
                    break;
                }
                if !self.selection.lets_through(&message) {
                    continue;
                }
                match &mut self.held {
                    Some(held) => held.take(message),
                    None => shown.push(message),
                }
            }
            if at_end {
                shown.extend(self.held.take().into_iter().flat_map(|held| held.messages));
                self.over = !self.follow;
            }
            if !shown.is_empty() {
                return Ok(Some(documents(&shown)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_counted_from_the_end() {
        assert!(matches!(last(20, 100, true), (Start::After(80), None)));
        assert!(matches!(last(20, 7, true), (Start::After(0), None)));
        assert!(matches!(last(0, 7, false), (Start::After(7), None)));
        assert!(matches!(last(5, 7, false), (Start::After(0), Some(Held { count: 5, .. }))));
    }
}
