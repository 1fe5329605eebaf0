//! Events in the order of the log: those of an execution, its jobs and its plan, or all that a filter lets through.
//!
//! Owns where an execution's story begins and ends. It ends with the plan that follows the execution's end, or with that end
//! where no plan follows it; either may stand in the log already when the reader asks. Invariant: whoever gives the sequence
//! of the last event that they have gets the one after it, and none twice.

use std::collections::VecDeque;

use axum::body::Bytes;
use broker::{Broker, Follower, Message, Start};
use events::envelope::Recorded;
use events::id::ExecutionId;
use events::rejection::Code;
use events::{Aggregate, AggregateKind, Event, Timestamp, execution, plan, subject};
use futures::stream::{self, Stream, TryStreamExt as _};

use crate::fault::Fault;

/// How many bytes of payloads are handed on at once.
const PART_BYTES: usize = 64 * 1024;

/// Reads an execution's events.
struct Story {
    execution: ExecutionId,
    follower: Follower,
    waiting: VecDeque<Message>,
    /// The last sequence that the reader has.
    after: u64,
    end: End,
}

/// Where a story ends.
#[derive(Debug, Default)]
struct End {
    /// Where the newest retry stood when the reader asked: what ended before it did not end the story.
    floor: u64,
    /// Where the execution's end stands.
    completed: Option<u64>,
    /// Whether a plan is to come although it was canceled.
    plan_requested: bool,
    reached: bool,
}

/// Where to begin in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With what happens next.
    Now,
    /// Behind this sequence.
    After(u64),
    /// With what was stored at this time or later.
    Time(Timestamp),
}

/// The events under any of these subjects, without an end; those that came together at once.
pub(crate) async fn log(
    broker: &Broker,
    subjects: &[String],
    begin: Begin,
) -> Result<impl Stream<Item = Result<Vec<Message>, Fault>> + Send + use<>, Fault> {
    let start = match begin {
        Begin::Now => Start::After(broker.last_sequence().await?),
        Begin::After(after) => {
            reached(broker, after).await?;
            Start::After(after)
        }
        Begin::Time(time) => Start::Time(time),
    };
    let follower = broker.relay_events(subjects, start);
    Ok(stream::try_unfold(follower, |mut follower| async move {
        let messages = follower.next().await?.messages;
        Ok(Some((messages, follower)))
    }))
}

/// Refuses a sequence behind the end of the log.
pub(super) async fn reached(broker: &Broker, after: u64) -> Result<(), Fault> {
    let end = broker.last_sequence().await?;
    if after > end {
        let message = format!("`after` is {after}, which the log has not reached: it ends at {end}");
        return Err(Fault::invalid(message, "Give the sequence of the last event that you have."));
    }
    Ok(())
}

/// An execution's events after a sequence, one JSON document a line.
pub(crate) async fn read(
    broker: &Broker,
    execution: ExecutionId,
    after: u64,
) -> Result<impl Stream<Item = Result<Bytes, Fault>> + Send + use<>, Fault> {
    Ok(story(broker, execution, after).await?.map_ok(|messages| documents(&messages)))
}

/// Events as they are shown, one JSON document a line.
pub(super) fn documents<'m>(messages: impl IntoIterator<Item = &'m Message>) -> Bytes {
    let lines = messages.into_iter().map(|message| format!("{}\n", message.document()));
    lines.collect::<String>().into()
}

/// An execution's events after a sequence; those that came together at once.
pub(crate) async fn story(
    broker: &Broker,
    execution: ExecutionId,
    after: u64,
) -> Result<impl Stream<Item = Result<Vec<Message>, Fault>> + Send + use<>, Fault> {
    let history = broker.history(&Aggregate::Execution(execution)).await?;
    let Some(first) = history.first() else {
        let hint = "`patchwave execution list` shows the executions there are.";
        return Err(Fault::new(Code::NotFound, format!("there is no execution {execution}"), hint));
    };
    reached(broker, after).await?;
    let end = End::of(&history);
    // What ends the story may stand before `after`: it has to be seen, though it is not sent.
    let from = after.max(first.sequence - 1).min(end.completed.map_or(u64::MAX, |completed| completed - 1));
    let filters = [subject::execution_story(execution), every_plan_event()];
    let follower = broker.relay_events(&filters, Start::After(from));
    let waiting = VecDeque::new();
    let story = Story { execution, follower, waiting, after, end };
    Ok(stream::try_unfold(story, |mut story| async move {
        let part = story.next().await?;
        Ok((!part.is_empty()).then_some((part, story)))
    }))
}

fn every_plan_event() -> String {
    subject::every(AggregateKind::Plan, "*")
}

impl Story {
    /// The next events; nothing at the end.
    async fn next(&mut self) -> Result<Vec<Message>, Fault> {
        let (mut part, mut bytes) = (Vec::new(), 0);
        while !self.end.reached && bytes < PART_BYTES {
            match self.waiting.pop_front() {
                Some(message) => {
                    let length = message.payload.len();
                    if self.take(&message) {
                        part.push(message);
                        bytes += length;
                    }
                }
                None if !part.is_empty() => break,
                None => self.waiting.extend(self.follower.next().await?.messages),
            }
        }
        Ok(part)
    }

    /// Takes a message in; says whether it is part of the story and new to the reader.
    fn take(&mut self, message: &Message) -> bool {
        let event = message.event();
        let ours = match &event {
            Ok(recorded) if matches!(recorded.aggregate, Aggregate::Plan(_)) => {
                recorded.correlation == self.execution.to_string()
            }
            Ok(_) => true,
            Err(_) => {
                message.subject.starts_with(subject::execution_story(self.execution).trim_end_matches('>'))
            }
        };
        match event.map(|recorded| recorded.event) {
            Ok(Event::Execution(event)) => self.end.take(message.sequence, &event),
            Ok(Event::Plan(plan::Event::Created(created))) if created.execution == self.execution => {
                self.end.reached = self.end.completed.is_some_and(|completed| message.sequence > completed);
            }
            _ => {}
        }
        ours && message.sequence > self.after
    }
}

impl End {
    /// What the history says of the end. Where it stands there, it is still to be seen.
    fn of(history: &[Recorded]) -> Self {
        let mut end = Self::default();
        for recorded in history {
            match &recorded.event {
                Event::Execution(execution::Event::Completed(_)) => end.completed = Some(recorded.sequence),
                Event::Execution(execution::Event::RetryRequested(_)) => {
                    end = Self { floor: recorded.sequence, ..Self::default() };
                }
                Event::Execution(execution::Event::PlanRequested(_)) => end.plan_requested = true,
                _ => {}
            }
        }
        end
    }

    fn take(&mut self, sequence: u64, event: &execution::Event) {
        match event {
            _ if sequence <= self.floor => {}
            execution::Event::Completed(completed) => {
                self.completed = Some(sequence);
                self.reached = completed.outcome == execution::Outcome::Canceled && !self.plan_requested;
            }
            execution::Event::RetryRequested(_) => *self = Self { floor: sequence, ..Self::default() },
            execution::Event::PlanRequested(_) => self.plan_requested = true,
            _ => {}
        }
    }
}
