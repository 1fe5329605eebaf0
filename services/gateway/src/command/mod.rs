//! Commands: what people ask for, decided and appended.
//!
//! Owns the ids. A request with a mutation id makes the same command, the same event and the same execution however often
//! it comes; one without is new each time. Never answers for the projection.

mod action_settings;
mod apply_action;
mod create_execution;
mod drain_runner;
mod identities;
mod lifecycle;
mod preview;
mod reuse;
mod runners;
mod secret;
mod tokens;
mod users;

use std::future::Future;
use std::time::Duration;

use broker::{Broker, Decided};
use chrono::{SubsecRound as _, Utc};
use events::envelope::{Actor, Origin, Recorded, event_id};
use events::id::CommandId;
use events::{Aggregate, Event, Rejection};

pub(crate) use action_settings::Setting;
pub(crate) use create_execution::CreateExecution;
pub(crate) use identities::Person;
pub(crate) use preview::Answered;
pub(crate) use runners::TokenFor;
pub(crate) use secret::Which;
pub(crate) use tokens::{NewToken as NewUserToken, TokenWanted};

use crate::access::{Caller, Passwords};
use crate::fault::Fault;
use crate::files::Files;
use crate::projection::Projection;

/// How long a command may wait for the broker.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest mutation id.
const MUTATION_ID_BYTES: usize = 200;

/// Carries out the commands of one caller.
#[derive(Clone)]
pub(crate) struct Commands {
    pub(crate) broker: Broker,
    pub(crate) files: Files,
    /// Only for what no single history says: who else is an administrator.
    pub(crate) projection: Projection,
    pub(crate) passwords: Passwords,
    pub(crate) caller: Caller,
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// What it made or changed.
    pub(crate) id: String,
    /// Where that stands in the log.
    pub(crate) sequence: u64,
}

/// Who asks for what.
struct Request<'a> {
    mutation: &'static str,
    mutation_id: Option<&'a str>,
    actor: Actor,
}

impl<'a> Request<'a> {
    fn new(caller: &Caller, mutation: &'static str, mutation_id: Option<&'a str>) -> Result<Self, Fault> {
        let good =
            |id: &&str| !id.is_empty() && id.len() <= MUTATION_ID_BYTES && !id.contains(char::is_control);
        if mutation_id.is_some_and(|id| !good(&id)) {
            return Err(Fault::invalid(
                format!("`mutationId` is empty, longer than {MUTATION_ID_BYTES} bytes, or not printable"),
                "Give a UUID, say, and the same one when the request is repeated.",
            ));
        }
        Ok(Self { mutation, mutation_id, actor: caller.actor() })
    }

    /// What every id of this request is derived from; nothing when it can never come again. Whoever asks is a part of it, so
    /// that nobody gets the answer to another's request by its mutation id.
    fn parts(&self) -> Option<[&str; 3]> {
        self.mutation_id.map(|id| [self.mutation, self.actor.as_str(), id])
    }

    /// The command that it is; another one each time when it can never come again.
    fn command(&self) -> CommandId {
        match self.parts() {
            Some(parts) => CommandId::derived(&parts),
            None => CommandId::from_uuid(uuid::Uuid::now_v7()),
        }
    }

    fn origin(&self, correlation: String) -> Origin {
        self.origin_of(self.command(), correlation)
    }

    fn origin_of(&self, command: CommandId, correlation: String) -> Origin {
        Origin { command, actor: self.actor.clone(), correlation, causation: None, trace_parent: None }
    }
}

impl Commands {
    fn request<'a>(
        &self,
        mutation: &'static str,
        mutation_id: Option<&'a str>,
    ) -> Result<Request<'a>, Fault> {
        Request::new(&self.caller, mutation, mutation_id)
    }

    /// Decides and appends. A command that is in the log already is done, whatever came after it.
    async fn once(
        &self,
        origin: &Origin,
        aggregate: &Aggregate,
        mut decide: impl FnMut(&[Recorded]) -> Result<Option<Event>, Rejection>,
    ) -> Result<Decided, Fault> {
        let mut done = None;
        let decided = self.broker.decide(aggregate, origin, now(), |history| {
            done = find(history, origin, aggregate).cloned();
            if done.is_some() { Ok(None) } else { decide(history) }
        });
        let decided = decided.await?;
        Ok(done.map_or(decided, |done| Decided { sequence: done.sequence, event: Some(done.event) }))
    }

    /// Waits for a command, but not for ever.
    async fn bounded<T>(
        &self,
        request: &Request<'_>,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut connection = self.broker.connection();
        let up = connection.wait_for(|connection| connection.up);
        let up = tokio::time::timeout(PATIENCE, up).await.is_ok_and(|up| up.is_ok());
        if !up {
            return Err(Fault::broker_unavailable("the broker cannot be reached; nothing was changed"));
        }
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
            let again = match request.mutation_id {
                Some(_) => "repeat the request with the same `mutationId`, which carries it out once",
                None => "look whether it was before you repeat it",
            };
            let message = "the broker does not store; it is not known whether the command was carried out";
            Err(Fault::broker_unavailable(format!("{message}: {again}")))
        })
    }
}

/// What a command did, if it was carried out.
fn find<'a>(history: &'a [Recorded], origin: &Origin, aggregate: &Aggregate) -> Option<&'a Recorded> {
    let event = event_id(origin.command, aggregate);
    history.iter().find(|recorded| recorded.id == event)
}

/// Now, in the precision in which events keep it.
fn now() -> events::Timestamp {
    Utc::now().trunc_subsecs(6)
}
