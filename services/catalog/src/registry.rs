//! The registry: which repositories are known, under which names, and where their branches were last seen.
//!
//! Owns the fold of the repositories and the appends to it. A fold that is late costs a refused append, after which the
//! history itself is read.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use broker::{AppendError, Broker};
use chrono::Utc;
use events::envelope::{NewEvent, Origin, Recorded};
use events::id::{CommandId, RepositoryId};
use events::location::Location;
use events::repository::{Command, HeadMoved, Registered, Repository, decide, evolve};
use events::{Aggregate, Event};
use serde::{Deserialize, Serialize};

use crate::heads::Pin;
use crate::names;

/// How often a decision is taken anew when others changed the same repository.
const ROUNDS: u32 = 5;

/// A repository's state and where its newest event stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tracked {
    state: Repository,
    sequence: u64,
}

/// Every repository.
pub(crate) type Repositories = BTreeMap<RepositoryId, Tracked>;

/// The repositories, for all executions at once.
#[derive(Default)]
pub(crate) struct Registry {
    repositories: Mutex<Repositories>,
}

impl Registry {
    pub(crate) fn new(repositories: Repositories) -> Self {
        Self { repositories: Mutex::new(repositories) }
    }

    fn lock(&self) -> MutexGuard<'_, Repositories> {
        // No code panics while it holds the lock half-way through a change.
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, for a snapshot.
    pub(crate) fn all(&self) -> Repositories {
        self.lock().clone()
    }

    /// Takes an event in.
    pub(crate) fn apply(&self, recorded: &Recorded) {
        if let (Aggregate::Repository(id), Event::Repository(event)) = (&recorded.aggregate, &recorded.event)
        {
            let mut repositories = self.lock();
            let tracked = repositories.entry(*id).or_default();
            advance(tracked, event, recorded.sequence);
        }
    }

    /// The names of all that are known now.
    pub(crate) fn all_names(&self) -> Names {
        Names(self.lock().values().filter_map(|tracked| tracked.state.registered.clone()).collect())
    }

    /// Appends what is new about a repository: that it is there, and where its branches are.
    pub(crate) async fn record(
        &self,
        broker: &Broker,
        origin: &Origin,
        location: &Location,
        pins: &[Pin],
    ) -> Result<()> {
        let id = RepositoryId::at(location.url());
        let mut tracked = self.lock().get(&id).cloned().unwrap_or_default();
        // A name once given stays: it may be longer in an execution where two repositories would share it.
        if tracked.state.registered.is_none() {
            let registered = Registered { name: names::short(location), url: location.url().to_owned() };
            self.carry_out(broker, origin, (id, &mut tracked), &Command::Register(registered)).await?;
        }
        for (branch, oid) in pins {
            let moved = HeadMoved { branch: branch.clone(), oid: oid.clone() };
            self.carry_out(broker, origin, (id, &mut tracked), &Command::MoveHead(moved)).await?;
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        broker: &Broker,
        origin: &Origin,
        (id, tracked): (RepositoryId, &mut Tracked),
        command: &Command,
    ) -> Result<()> {
        let aggregate = Aggregate::Repository(id);
        for _ in 0..ROUNDS {
            let Some(event) = decide(&tracked.state, command.clone())? else { return Ok(()) };
            let expected = tracked.sequence.to_string();
            let command_id = CommandId::derived(&[event.name(), &id.to_string(), &expected]);
            let new = NewEvent {
                aggregate: aggregate.clone(),
                event: Event::Repository(event.clone()),
                time: Utc::now(),
                origin: Origin { command: command_id, ..origin.clone() },
            };
            match broker.append(&new, tracked.sequence).await {
                Ok(appended) if !appended.repeated => {
                    advance(tracked, &event, appended.sequence);
                    self.keep(id, tracked);
                    return Ok(());
                }
                // What stands there may say something else than what was decided just now.
                Ok(_) | Err(AppendError::Conflict) => *tracked = load(broker, &aggregate).await?,
                Err(error) => return Err(error).context("noting what is new about a repository"),
            }
        }
        bail!("{aggregate} is being changed by others again and again")
    }

    /// Keeps a state unless a newer one came in meanwhile.
    fn keep(&self, id: RepositoryId, tracked: &Tracked) {
        let mut repositories = self.lock();
        let known = repositories.entry(id).or_default();
        if known.sequence < tracked.sequence {
            known.clone_from(tracked);
        }
    }
}

/// The names of repositories at one time.
pub(crate) struct Names(Vec<Registered>);

impl Names {
    /// The addresses of the repositories that go by a name: the one they were registered with, or the end of their path.
    pub(crate) fn named(&self, name: &str) -> Vec<String> {
        let ending = format!("/{name}");
        let is_meant = |registered: &&Registered| {
            let path = registered.url.strip_suffix(".git").unwrap_or(&registered.url);
            registered.name == name || (path.starts_with('/') && path.ends_with(&ending))
        };
        self.0.iter().filter(is_meant).map(|registered| registered.url.clone()).collect()
    }
}

fn advance(tracked: &mut Tracked, event: &events::repository::Event, sequence: u64) {
    if tracked.sequence < sequence {
        tracked.state = evolve(std::mem::take(&mut tracked.state), event);
        tracked.sequence = sequence;
    }
}

async fn load(broker: &Broker, aggregate: &Aggregate) -> Result<Tracked> {
    let history = broker.history(aggregate).await.context("the history of a repository")?;
    let mut tracked = Tracked::default();
    for recorded in &history {
        if let Event::Repository(event) = &recorded.event {
            advance(&mut tracked, event, recorded.sequence);
        }
    }
    Ok(tracked)
}
