//! Previews: asked for like an execution, and refused for the very same reasons.
//!
//! Owns the waiting for the catalog's answer. It stands in the log and is read from there: a preview has no rows, and
//! anybody who knows its id can read it again.

use std::time::Duration;

use broker::Start;
use events::action::{self, Definition};
use events::document;
use events::envelope::Recorded;
use events::id::{ActionId, PreviewId};
use events::preview::{self, End, Preview, Requested, Resolved};
use events::rejection::Code;
use events::secret::SecretVersion;
use events::{Aggregate, Event, subject};
use spec::Parsed;

use super::apply_action::{check_size, fold, parse, parse_after};
use super::create_execution::{another_request, check_scope, locations};
use super::{Commands, Done, now};
use crate::fault::Fault;

/// How long one request waits for the catalog.
const WAIT: Duration = Duration::from_secs(30);

/// A preview that was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The preview.
    pub(crate) done: Done,
    /// What should be written differently.
    pub(crate) warnings: Vec<String>,
}

/// A preview that has its answer.
#[derive(Debug)]
pub(crate) struct Answered {
    /// What was asked for.
    pub(crate) requested: Requested,
    /// The same definition, read.
    pub(crate) definition: spec::Definition,
    /// Which values of secrets its steps would get.
    pub(crate) secrets: Vec<SecretVersion>,
    /// How much was found.
    pub(crate) resolved: Resolved,
    /// What was found.
    pub(crate) found: document::Preview,
}

impl Commands {
    /// Asks where a definition would run, once for each mutation id.
    pub(crate) async fn request_preview(
        &self,
        definition: Definition,
        repositories: &[String],
        mutation_id: Option<&str>,
    ) -> Result<Asked, Fault> {
        let request = self.request("previewAction", mutation_id)?;
        check_size(&definition)?;
        let repositories = locations(repositories)?;
        let action_name = parse(&definition)?.definition.name;
        let warnings = self.check_run(&action_name, &definition, &repositories).await?;
        let id = match request.parts() {
            Some(parts) => PreviewId::derived(&parts),
            None => PreviewId::from_uuid(uuid::Uuid::now_v7()),
        };
        let origin = request.origin(id.to_string());
        let aggregate = Aggregate::Preview(id);
        let requested = Requested { action_name, definition, repositories };
        let append = async {
            let decided = self.broker.decide(&aggregate, &origin, now(), |history| {
                let preview = fold_preview(history);
                if preview.requested.as_ref().is_some_and(|before| *before != requested) {
                    return Err(another_request(&id.to_string()));
                }
                Ok(preview::decide(&preview, preview::Command::Request(requested.clone()))?
                    .map(Event::Preview))
            });
            Ok(Done { id: id.to_string(), sequence: decided.await?.sequence })
        };
        Ok(Asked { done: self.bounded(&request, append).await?, warnings })
    }

    /// Refuses what could not be run as it is; returns what should be written differently.
    async fn check_run(
        &self,
        action_name: &str,
        definition: &Definition,
        repositories: &[String],
    ) -> Result<Vec<String>, Fault> {
        let id = ActionId::named(action_name);
        let action = fold(&self.broker.history(&Aggregate::Action(id)).await?);
        let apply = action::Command::Apply { name: action_name.to_owned(), definition: definition.clone() };
        action::decide(&action, apply)?;
        let saved = action.definition.as_ref();
        let Parsed { definition: parsed, warnings } = parse_after(saved, definition)?;
        self.check_files(definition, &parsed, saved).await?;
        check_scope(&parsed, repositories)?;
        self.check_secrets((id, action_name), parsed.secrets()).await?;
        Ok(warnings.iter().map(ToString::to_string).collect())
    }

    /// The answer to a preview, waited for if need be; nothing if there is no such preview.
    pub(crate) async fn preview(&self, id: PreviewId) -> Result<Option<Answered>, Fault> {
        let aggregate = Aggregate::Preview(id);
        let history = self.broker.history(&aggregate).await?;
        let Some(last) = history.last() else { return Ok(None) };
        let mut preview = fold_preview(&history);
        if preview.end.is_none() {
            let end = self.end_of(&aggregate, last.sequence);
            preview.end = Some(tokio::time::timeout(WAIT, end).await.map_err(|_| pending(id))??);
        }
        match preview {
            Preview { requested: Some(requested), end: Some(End::Resolved(resolved)) } => {
                let definition = parse(&requested.definition)?.definition;
                let found = self.broker.get_document(&resolved.scope).await?;
                let secrets = self.secret_versions(&requested.action_name, &definition).await?;
                Ok(Some(Answered { requested, definition, secrets, resolved, found }))
            }
            Preview { end: Some(End::Failed(failed)), .. } => {
                Err(Fault::new(Code::PreviewFailed, failed.message, failed.hint))
            }
            _ => Ok(None),
        }
    }

    /// Waits for the end of a preview after a place in the log.
    async fn end_of(&self, aggregate: &Aggregate, after: u64) -> Result<End, Fault> {
        let mut events =
            self.broker.follow_events(&[subject::aggregate_filter(aggregate)], Start::After(after));
        loop {
            for message in events.next().await?.messages {
                let recorded = message.event().map_err(Fault::ours)?;
                if let Some(end) = fold_preview(std::slice::from_ref(&recorded)).end {
                    return Ok(end);
                }
            }
        }
    }
}

fn fold_preview(history: &[Recorded]) -> Preview {
    history.iter().fold(Preview::default(), |preview, recorded| match &recorded.event {
        Event::Preview(event) => preview::evolve(preview, event),
        _ => preview,
    })
}

fn pending(id: PreviewId) -> Fault {
    let message = format!("{id} has no answer after {} s: repositories are still looked at", WAIT.as_secs());
    let hint = "Ask for `preview(id)` again, which goes on waiting. Does the catalog run?";
    Fault::new(Code::PreviewPending, message, hint).detail("id", id.to_string())
}
