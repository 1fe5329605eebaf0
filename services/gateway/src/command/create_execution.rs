//! Creating an execution: one revision of an action, over repositories.

use std::collections::HashSet;

use events::action::Definition;
use events::execution::{self, Reason, Requested};
use events::id::{ActionId, ExecutionId};
use events::location::Location;
use events::rejection::Code;
use events::runner::{MAX_POOL, is_pool};
use events::{Aggregate, Event, Rejection};
use spec::Scope;

use super::apply_action::{fold, parse};
use super::lifecycle::fold_execution;
use super::{Commands, Done, Request, now};
use crate::fault::Fault;

/// The most repositories of one execution.
const MAX_REPOSITORIES: usize = 10_000;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct CreateExecution {
    /// The action.
    pub(crate) action: ActionId,
    /// The revision; absent: the newest.
    pub(crate) revision: Option<i32>,
    /// Clone URLs or absolute paths; empty: what the definition says.
    pub(crate) repositories: Vec<String>,
    /// Whether every step runs, whatever the step cache has.
    pub(crate) no_cache: bool,
    /// The pool whose runners its jobs go to; absent: what the definition says.
    pub(crate) pool: Option<String>,
}

impl Commands {
    /// Requests an execution, once for each mutation id.
    pub(crate) async fn create_execution(
        &self,
        create: CreateExecution,
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let request = self.request("createActionExecution", mutation_id)?;
        let repositories = locations(&create.repositories)?;
        check_pool(create.pool.as_deref())?;
        self.bounded(&request, self.request_execution(&request, &create, repositories)).await
    }

    async fn request_execution(
        &self,
        request: &Request<'_>,
        create: &CreateExecution,
        repositories: Vec<String>,
    ) -> Result<Done, Fault> {
        let id = match request.parts() {
            Some(parts) => ExecutionId::derived(&parts),
            None => ExecutionId::from_uuid(uuid::Uuid::now_v7()),
        };
        if request.mutation_id.is_some()
            && let Some(done) = self.requested_before(id, create, &repositories).await?
        {
            return Ok(done);
        }
        let requested = self.pin(create, repositories).await?;
        let origin = request.origin(id.to_string());
        let aggregate = Aggregate::Execution(id);
        let decided = self.broker.decide(&aggregate, &origin, now(), |history| {
            let command = execution::Command::Request(requested.clone());
            Ok(execution::decide(&fold_execution(history), command)?.map(Event::Execution))
        });
        Ok(Done { id: id.to_string(), sequence: decided.await?.sequence })
    }

    /// Whether this very request was carried out before, when more may have happened to the action since.
    async fn requested_before(
        &self,
        id: ExecutionId,
        create: &CreateExecution,
        repositories: &[String],
    ) -> Result<Option<Done>, Fault> {
        let history = self.broker.history(&Aggregate::Execution(id)).await?;
        let Some(first) = history.first() else { return Ok(None) };
        let same = match &first.event {
            Event::Execution(execution::Event::Requested(before)) => {
                let revision =
                    create.revision.is_none_or(|revision| i64::from(revision) == i64::from(before.revision));
                before.action == create.action
                    && before.repositories == repositories
                    && before.no_cache == create.no_cache
                    && before.pool == create.pool
                    && revision
            }
            _ => false,
        };
        if same {
            return Ok(Some(Done { id: id.to_string(), sequence: first.sequence }));
        }
        Err(another_request(&id.to_string()).into())
    }

    /// What is to run, read from the log: the projection may be late.
    async fn pin(&self, create: &CreateExecution, repositories: Vec<String>) -> Result<Requested, Fault> {
        let history = self.broker.history(&Aggregate::Action(create.action)).await?;
        let action = fold(&history);
        let hint = "`patchwave action list` shows the actions there are.";
        if action.revision == 0 {
            return Err(Fault::new(Code::NotFound, format!("there is no action {}", create.action), hint));
        }
        action.check_open()?;
        let revision = create.revision.map_or(Ok(action.revision), u32::try_from).unwrap_or_default();
        let definition = history.iter().find_map(|recorded| match &recorded.event {
            Event::Action(event) => definition_of(event, revision),
            _ => None,
        });
        let definition = definition.ok_or_else(|| {
            let (name, newest) = (&action.name, action.revision);
            let given = create.revision.unwrap_or_default();
            let message = format!("the action `{name}` has no revision {given}");
            Fault::new(Code::NotFound, message, format!("Its revisions are 1 to {newest}."))
        })?;
        let parsed = parse(definition)?.definition;
        check_scope(&parsed, &repositories)?;
        self.check_secrets((create.action, &action.name), parsed.secrets()).await?;
        Ok(Requested {
            action: create.action,
            action_name: action.name,
            revision,
            definition: definition.clone(),
            repositories,
            reason: Reason::Manual,
            no_cache: create.no_cache,
            pool: create.pool.clone(),
        })
    }
}

fn definition_of(event: &events::action::Event, revision: u32) -> Option<&Definition> {
    match event {
        events::action::Event::Created(created) if revision == 1 => Some(&created.definition),
        events::action::Event::Revised(revised) if revised.revision == revision => Some(&revised.definition),
        _ => None,
    }
}

fn check_pool(pool: Option<&str>) -> Result<(), Fault> {
    match pool.filter(|pool| !is_pool(pool)) {
        None => Ok(()),
        Some(pool) => Err(Fault::invalid(
            format!("`{pool}` cannot be the name of a pool"),
            format!("A pool is named by ASCII letters, digits, `_` and `-`, at most {MAX_POOL}."),
        )),
    }
}

/// The rejection of a request that took the mutation id of another.
pub(super) fn another_request(made: &str) -> Rejection {
    Rejection::new(
        Code::AlreadyExists,
        format!("this `mutationId` stands for another request, which made {made}"),
        "Give each request a `mutationId` of its own, and the same one only when it is repeated.",
    )
}

/// Whether there is something to run over, given or named by the definition.
pub(super) fn check_scope(parsed: &spec::Definition, repositories: &[String]) -> Result<(), Fault> {
    if !repositories.is_empty() {
        return Ok(());
    }
    // What is tracked needs no job.
    if parsed.on.is_empty() && parsed.steps.is_empty() && !parsed.import_changesets.is_empty() {
        return Ok(());
    }
    if parsed.on.is_empty() {
        let message = "there are no repositories to run over: none are given, and the definition has no `on`";
        let hint = "Give some with `--repo PATH_OR_URL`, or name them in the definition's `on`.";
        return Err(Fault::new(Code::NoRepositories, message, hint));
    }
    let query = parsed.on.iter().find_map(|scope| match scope {
        Scope::Query { query } => Some(query),
        Scope::Repository { .. } => None,
    });
    match query {
        Some(query) => Err(Fault::new(
            Code::UnsupportedScope,
            format!("the definition asks for a search (`{query}`), which this server cannot do yet"),
            "Give the repositories with `--repo PATH_OR_URL`; a batch spec can also name them in `on` with `repository:`.",
        )),
        None => Ok(()),
    }
}

/// The repositories as events name them.
pub(super) fn locations(repositories: &[String]) -> Result<Vec<String>, Fault> {
    if repositories.len() > MAX_REPOSITORIES {
        return Err(Fault::invalid(
            format!("{} repositories are given, {MAX_REPOSITORIES} are the most", repositories.len()),
            "Make several executions.",
        ));
    }
    let mut seen = HashSet::with_capacity(repositories.len());
    let mut urls = Vec::with_capacity(repositories.len());
    for text in repositories {
        let url = Location::parse(text)?.url().to_owned();
        if !seen.insert(url.clone()) {
            return Err(Fault::invalid(format!("`{url}` is given twice"), "Give each repository once."));
        }
        urls.push(url);
    }
    Ok(urls)
}
