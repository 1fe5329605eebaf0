//! What the events of runners and of their enrollments do to the rows.
//!
//! Owns two rows a runner: how it stands to jobs, and whether a machine may speak for it. Neither knows of the other,
//! because their events come in any order: a machine enrolls before it registers, and may be revoked while it runs. Whichever
//! comes first is counted.

use events::envelope::Recorded;
use events::id::RunnerId;
use events::{enrollment, runner};

use super::{Fold, json};
use crate::columns::Word;
use crate::rows::{Enrollment, Runner, Total};

impl Fold {
    pub(super) fn runner(&mut self, recorded: &Recorded, id: &RunnerId, event: &runner::Event) {
        if let runner::Event::Registered(registered) = event {
            self.meet(id);
            self.runners.put(Runner {
                id: id.clone(),
                state: Word::Borrowed("registered"),
                slots: registered.slots,
                pool: registered.pool.clone(),
                labels: json(&registered.labels),
                version: registered.version.clone(),
                incarnation: registered.incarnation.to_string(),
                since: recorded.time,
                reason: None,
            });
            return;
        }
        let Some(row) = self.runners.change(&(id.clone(),)) else { return };
        row.since = recorded.time;
        match event {
            runner::Event::Registered(_) => {}
            runner::Event::Draining(runner::Draining {}) => row.state = Word::Borrowed("draining"),
            runner::Event::Gone(gone) => {
                row.state = Word::Borrowed("gone");
                row.reason = Some(gone.reason.clone());
            }
        }
    }

    pub(super) fn enrollment(&mut self, recorded: &Recorded, id: &RunnerId, event: &enrollment::Event) {
        self.meet(id);
        let in_state = |state| Enrollment {
            id: id.clone(),
            state: Word::Borrowed(state),
            since: recorded.time,
            token_expires_at: None,
        };
        match event {
            enrollment::Event::TokenIssued(issued) => {
                // Whoever has a key keeps it until the token is redeemed.
                let token_expires_at = Some(issued.expires_at);
                match self.enrollments.change(&(id.clone(),)) {
                    Some(row) => row.token_expires_at = token_expires_at,
                    None => self.enrollments.put(Enrollment { token_expires_at, ..in_state("invited") }),
                }
            }
            enrollment::Event::Enrolled(_) => self.enrollments.put(in_state("enrolled")),
            enrollment::Event::Revoked(enrollment::Revoked {}) => self.enrollments.put(in_state("revoked")),
        }
    }

    /// Counts a runner of which nothing was known. Both of its rows must have been loaded.
    fn meet(&mut self, id: &RunnerId) {
        let key = (id.clone(),);
        if !self.runners.has(&key) && !self.enrollments.has(&key) {
            self.tally(Total::RUNNERS, 1);
        }
    }
}
