//! Leaving: the runner finishes what it runs, gives back what it has not begun, and goes.
//!
//! Owns the end of a runner and the tickets that it does not want. A ticket that is given back is a report like any
//! other, so that nothing is lost and no loss is counted. Invariant: a runner leaves only when nothing is in its hands,
//! and nothing in its queue once the scheduler has said that nothing more comes.

use std::time::Duration;

use broker::{Broker, Delivery};
use events::beat::Running;
use events::report::{Report, What};
use events::ticket::Ticket;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::attempts::{Attempts, Halt};
use crate::journal::attempt_of;
use crate::service::Shared;

/// How long attempts may take to end once they were told to. What is not told by then is told at the next start.
const END: Duration = Duration::from_secs(20);

/// How long a runner with nothing in its hands waits for the scheduler's word. Its own tests have no scheduler.
const ANSWER: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// How long a ticket may wait for a runner that cannot take it now.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a runner takes nothing new.
pub(crate) struct Leave {
    /// Which start of the process this is: only it is meant.
    pub(crate) incarnation: Uuid,
    /// Somebody wishes it: whoever started the process, or the scheduler.
    pub(crate) wished: CancellationToken,
    /// The scheduler says that nothing more comes.
    pub(crate) nothing_comes: CancellationToken,
}

impl Leave {
    /// Takes the scheduler's word that the runner with this incarnation is to leave.
    pub(crate) fn told(&self, incarnation: Uuid) {
        if incarnation != self.incarnation || self.nothing_comes.is_cancelled() {
            return;
        }
        if !self.wished.is_cancelled() {
            tracing::info!("told to drain: finishes what runs, takes nothing new");
        }
        self.nothing_comes.cancel();
        self.wished.cancel();
    }
}

/// Ends in order: attempts by themselves, for as long as that may take; tickets go back meanwhile.
pub(crate) async fn leave(shared: &Shared, leave: &Leave, timeout: Option<Duration>) {
    let mut ended = std::pin::pin!(end(&shared.attempts, timeout));
    let mut returned = std::pin::pin!(empty_queue(shared, &leave.nothing_comes));
    let mut is_empty = false;
    loop {
        tokio::select! {
            () = &mut ended => break,
            () = &mut returned, if !is_empty => is_empty = true,
        }
    }
    if !is_empty && tokio::time::timeout(ANSWER, returned).await.is_err() {
        tracing::warn!("leaves without the scheduler's word that nothing more comes: is it away?");
    }
}

/// Lets attempts end by themselves for a while, then ends them.
async fn end(attempts: &Attempts, timeout: Option<Duration>) {
    let Some(timeout) = timeout else { return attempts.none_left().await };
    if tokio::time::timeout(timeout, attempts.none_left()).await.is_ok() {
        return;
    }
    tracing::warn!(attempts = attempts.all().len(), "the runner stops: what still runs is abandoned");
    attempts.halt_all(Halt::Drain);
    if tokio::time::timeout(END, attempts.none_left()).await.is_err() {
        tracing::warn!("not all ends could be told to the broker: the next start does");
    }
}

/// Gives tickets back until nothing more comes and nothing is left.
async fn empty_queue(shared: &Shared, nothing_comes: &CancellationToken) {
    let mut queue = shared.broker.tickets(&shared.runner);
    loop {
        tokio::select! {
            delivery = queue.next() => give_back(shared, &delivery, "the runner drains").await,
            () = nothing_left(shared, nothing_comes) => return,
        }
    }
}

/// Waits until the queue is known to be empty for good. The broker does not say when it hears of an acknowledgement, so
/// it is asked again, ever more seldom; a ticket that comes meanwhile is the next thing to do.
async fn nothing_left(shared: &Shared, nothing_comes: &CancellationToken) {
    nothing_comes.cancelled().await;
    let mut pause = Duration::from_millis(50);
    while shared.broker.tickets_left(&shared.runner).await > 0 {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// Gives back what waits for a runner that cannot take it, unless it soon can.
pub(crate) async fn give_back_what_waits(shared: &Shared, reason: &str) {
    tokio::time::sleep(PATIENCE).await;
    let mut queue = shared.broker.tickets(&shared.runner);
    loop {
        let delivery = queue.next().await;
        give_back(shared, &delivery, reason).await;
    }
}

/// Reports that an attempt was not begun, unless it is known. Until the broker has that, the ticket stays in the queue.
async fn give_back(shared: &Shared, delivery: &Delivery<Ticket>, reason: &str) {
    if let Ok(ticket) = &delivery.value {
        let attempt = attempt_of(ticket);
        if !shared.journal.has_ended(&attempt) && !shared.attempts.all().contains(&attempt) {
            tracing::info!(job.id = %attempt.job, attempt = attempt.attempt, reason, "a ticket is given back");
            report(&shared.broker, shared, (ticket, attempt), reason).await;
        }
    }
    crate::service::acknowledge(delivery).await;
}

async fn report(broker: &Broker, shared: &Shared, (ticket, attempt): (&Ticket, Running), reason: &str) {
    let report = Report {
        execution: ticket.execution,
        job: attempt.job,
        attempt: attempt.attempt,
        number: 1,
        time: chrono::Utc::now(),
        what: What::Returned { reason: reason.to_owned() },
    };
    if let Err(error) = broker.report(&shared.runner, &[report]).await {
        tracing::error!(job.id = %attempt.job, %error, "a report cannot be sent");
    }
}
