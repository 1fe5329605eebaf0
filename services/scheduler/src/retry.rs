//! Retrying: jobs that have ended and are tried again.
//!
//! Owns the way from a request to another attempt. An execution that has ended is not in the fold; one that goes on is
//! read from the log, once, before anything else is decided. Nothing of an earlier attempt is touched.

use broker::{FollowError, Start};
use events::id::{CommandId, ExecutionId};
use events::job::{self, Command};
use events::{Event, execution, subject};

use crate::fold::{Execution, Fold};
use crate::service::{BATCH, Service};

impl Service {
    /// Reads the executions that go on after their end.
    pub(crate) async fn reopen(&mut self) -> anyhow::Result<()> {
        while let Some(id) = self.fold.reopened.first().copied() {
            let execution = self.read(id).await?;
            self.fold.reopened.remove(&id);
            // It may have ended again since: then the log says so, and there is nothing to do.
            if let Some(execution) = execution {
                tracing::info!(execution.id = %id, jobs = execution.due.len(), "an execution goes on");
                self.fold.insert(id, execution);
            }
        }
        Ok(())
    }

    /// An execution as the log has it; none if it has ended.
    async fn read(&self, id: ExecutionId) -> Result<Option<Execution>, FollowError> {
        let mut events = self.broker.follow_events(&[subject::execution_story(id)], Start::After(0));
        let (mut story, mut has_ended) = (Fold::default(), false);
        while !events.caught_up() {
            for message in events.next().await?.messages {
                match message.event() {
                    // An earlier end is no end: what was there then is what is tried again.
                    Ok(recorded) => match &recorded.event {
                        Event::Execution(execution::Event::Completed(_)) => has_ended = true,
                        Event::Execution(execution::Event::RetryRequested(_)) => {
                            has_ended = false;
                            story.apply(&recorded);
                        }
                        _ => story.apply(&recorded),
                    },
                    Err(error) => {
                        tracing::warn!(sequence = message.sequence, %error, "an event is passed over");
                    }
                }
            }
        }
        Ok(story.executions.remove(&id).filter(|_| !has_ended))
    }

    /// Opens the jobs that are to be tried again; says whether there are more.
    pub(crate) async fn retry(&mut self) -> anyhow::Result<bool> {
        let (mut facts, mut settled) = (Vec::new(), Vec::new());
        'all: for id in &self.fold.index.retrying {
            let Some(execution) = self.fold.executions.get(id) else { continue };
            for job in &execution.due {
                if facts.len() == BATCH {
                    break 'all;
                }
                let Some(tracked) = execution.jobs.get(job) else { continue };
                match job::decide(&tracked.state, Command::Retry) {
                    Ok(Some(event)) => {
                        let number = execution.own.state.retries.to_string();
                        let command = CommandId::derived(&["retry", &job.to_string(), &number]);
                        facts.push(self.job_fact((*id, *job), command, event));
                    }
                    // It waits or runs already.
                    _ => settled.push((*id, *job)),
                }
            }
        }
        for id in settled {
            self.fold.settle(id);
        }
        let more = facts.len() == BATCH;
        self.append(facts).await?;
        Ok(more)
    }
}
