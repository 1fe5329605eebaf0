//! An execution's events: its own, its jobs' and its plan's, in the order of the log.
//!
//! Owns where the story begins and ends. It ends with the plan that follows the execution's end, or with that end where no
//! plan follows it; either may stand in the log already when the reader asks.

use std::collections::VecDeque;

use axum::body::Bytes;
use broker::{Broker, Follower, Message, Start};
use events::envelope::Recorded;
use events::id::ExecutionId;
use events::rejection::Code;
use events::{Aggregate, AggregateKind, Event, execution, plan, subject};
use futures::stream::{self, Stream};

use crate::fault::Fault;

/// How many bytes are handed on at once.
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

/// The events after a sequence, one JSON document a line.
pub(crate) async fn read(
    broker: &Broker,
    execution: ExecutionId,
    after: u64,
) -> Result<impl Stream<Item = Result<Bytes, Fault>> + Send + use<>, Fault> {
    let history = broker.history(&Aggregate::Execution(execution)).await?;
    let Some(first) = history.first() else {
        let hint = "`patchwave execution list` shows the executions there are.";
        return Err(Fault::new(Code::NotFound, format!("there is no execution {execution}"), hint));
    };
    if after > broker.last_sequence().await? {
        let message = format!("`after` is {after}, which the log has not reached");
        return Err(Fault::invalid(message, "Give the sequence of the last event that you have."));
    }
    let end = End::of(&history);
    // What ends the story may stand before `after`: it has to be seen, though it is not sent.
    let from = after.max(first.sequence - 1).min(end.completed.unwrap_or(u64::MAX));
    let filters = [subject::execution_story(execution), every_plan_event()];
    let follower = broker.follow_events(&filters, Start::After(from));
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
    /// The next lines; nothing at the end.
    async fn next(&mut self) -> Result<Bytes, Fault> {
        let mut part = Vec::new();
        while !self.end.reached && part.len() < PART_BYTES {
            match self.waiting.pop_front() {
                Some(message) => self.take(&message, &mut part),
                None if !part.is_empty() => break,
                None => self.waiting.extend(self.follower.next().await?.messages),
            }
        }
        Ok(part.into())
    }

    /// Takes a message in, and writes it down if it is part of the story and new to the reader.
    fn take(&mut self, message: &Message, part: &mut Vec<u8>) {
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
        if ours && message.sequence > self.after {
            part.extend_from_slice(message.document().to_string().as_bytes());
            part.push(b'\n');
        }
        match event.map(|recorded| recorded.event) {
            Ok(Event::Execution(event)) => self.end.take(message.sequence, &event),
            Ok(Event::Plan(plan::Event::Created(created))) if created.execution == self.execution => {
                self.end.reached = self.end.completed.is_some_and(|completed| message.sequence > completed);
            }
            _ => {}
        }
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
