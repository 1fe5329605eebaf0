//! Applying a definition: a new action, its next revision, or nothing new.

use events::action::{self, Action, Definition};
use events::envelope::Recorded;
use events::id::ActionId;
use events::rejection::Code;
use events::{Aggregate, Event};
use serde_json::{Value, json};
use spec::{Beside, Diagnostic, Diagnostics, Mount, Parsed, Refusal, Source};

use super::{Commands, Done};
use crate::fault::Fault;

/// The most bytes that a definition's text may have.
const DEFINITION_BYTES: usize = 512 * 1024;

/// The most bytes of everything that is given beside it.
const GIVEN_BYTES: usize = 64 * 1024;

/// The longest name of a file.
const FILE_NAME_BYTES: usize = 255;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The action.
    pub(crate) done: Done,
    /// Whether it was not so before.
    pub(crate) changed: bool,
    /// What should be written differently.
    pub(crate) warnings: Vec<String>,
}

impl Commands {
    /// Makes a definition the newest of its action.
    pub(crate) async fn apply_action(
        &self,
        definition: Definition,
        mutation_id: Option<&str>,
    ) -> Result<Applied, Fault> {
        let request = self.request("applyAction", mutation_id)?;
        check_size(&definition)?;
        let id = ActionId::named(&parse(&definition)?.definition.name);
        let aggregate = Aggregate::Action(id);
        let saved = fold(&self.broker.history(&aggregate).await?).definition;
        let Parsed { definition: parsed, warnings } = parse_after(saved.as_ref(), &definition)?;
        self.check_files(&definition, &parsed, saved.as_ref()).await?;
        let origin = request.origin(id.to_string());
        let decided = self.once(&origin, &aggregate, |history| {
            let apply = action::Command::Apply { name: parsed.name.clone(), definition: definition.clone() };
            Ok(action::decide(&fold(history), apply)?.map(Event::Action))
        });
        let decided = self.bounded(&request, decided).await?;
        let done = Done { id: id.to_string(), sequence: decided.sequence };
        Ok(Applied {
            done,
            changed: decided.event.is_some(),
            warnings: warnings.iter().map(ToString::to_string).collect(),
        })
    }
}

impl Commands {
    /// Whether the files are there that the definition mounts, and nothing else.
    pub(super) async fn check_files(
        &self,
        definition: &Definition,
        parsed: &spec::Definition,
        saved: Option<&Definition>,
    ) -> Result<(), Fault> {
        let mounted: Vec<String> = parsed.mounts().map(|mount| mount.path.clone()).collect();
        let blob = match (&definition.files, mounted.is_empty()) {
            (None, true) => return Ok(()),
            (None, false) => {
                let message = "the definition mounts files, but none are given";
                let hint = "Send them with `PUT /files/{sha256}`, and name them in `files`.";
                return Err(Fault::new(Code::FilesMissing, message, hint));
            }
            (Some(_), true) => {
                let message = "files are given, but no step of the definition mounts any";
                return Err(Fault::invalid(message, "Leave `files` out."));
            }
            (Some(blob), false) => blob,
        };
        // What is saved already was looked into then.
        if saved == Some(definition) {
            return Ok(());
        }
        let there = self.files.look(blob, mounted).await?.found;
        let refuse = |mount: &Mount| {
            (!there.iter().any(|path| path.as_os_str() == mount.path.as_str())).then(|| Refusal {
                message: format!("`{}` is not among the files that were sent", mount.path),
                hint: "send it: paths are relative to the folder of this file".to_owned(),
            })
        };
        let beside = Beside { mount: &refuse, ..Beside::default() };
        spec::parse_beside(&Source::from(definition), &beside).map_err(|found| refused(&found)).map(drop)
    }
}

/// The action that a history amounts to.
pub(super) fn fold(history: &[Recorded]) -> Action {
    history.iter().fold(Action::default(), |action, recorded| match &recorded.event {
        Event::Action(event) => action::evolve(action, event),
        _ => action,
    })
}

/// Reads a definition, or says everything that is wrong with it.
pub(super) fn parse(definition: &Definition) -> Result<Parsed, Fault> {
    parse_after(None, definition)
}

/// The same for one that takes the place of another.
pub(super) fn parse_after(saved: Option<&Definition>, definition: &Definition) -> Result<Parsed, Fault> {
    let saved = saved.and_then(|saved| spec::parse(&Source::from(saved)).ok());
    let previous = saved.as_ref().map(|parsed| &parsed.definition);
    let beside = Beside { previous, ..Beside::default() };
    spec::parse_beside(&Source::from(definition), &beside).map_err(|diagnostics| refused(&diagnostics))
}

fn refused(diagnostics: &Diagnostics) -> Fault {
    let list: Vec<Value> = diagnostics.as_slice().iter().map(shown).collect();
    let hint = "Mend what is marked, and apply it again. Nothing was changed.";
    Fault::new(Code::InvalidDefinition, diagnostics.to_string(), hint)
        .detail("diagnostics", list)
        .detail("omitted", diagnostics.omitted())
}

/// A diagnostic for programs, and as it is shown.
fn shown(diagnostic: &Diagnostic) -> Value {
    let mut value = serde_json::to_value(diagnostic).unwrap_or_else(|_| json!({}));
    if let Value::Object(fields) = &mut value {
        fields.insert("rendered".to_owned(), diagnostic.to_string().into());
    }
    value
}

pub(super) fn check_size(definition: &Definition) -> Result<(), Fault> {
    let Definition { file_name, source, given, files: _ } = definition;
    let bad_name = file_name.is_empty() || file_name.len() > FILE_NAME_BYTES;
    if bad_name || file_name.contains(char::is_control) {
        return Err(Fault::invalid(
            format!("`fileName` is empty, longer than {FILE_NAME_BYTES} bytes, or not printable"),
            "Give the name of the definition's file.",
        ));
    }
    if source.len() > DEFINITION_BYTES {
        return Err(Fault::new(
            Code::InvalidDefinition,
            format!("the definition has {} bytes, {DEFINITION_BYTES} are the most", source.len()),
            "Move what is long, such as scripts, into the steps' images.",
        ));
    }
    let events::action::Given { name, branch, title, body, message } = given;
    let given = [name, branch, title, body, message].into_iter().flatten().map(String::len).sum::<usize>();
    if given > GIVEN_BYTES {
        return Err(Fault::invalid(
            format!("what is given beside the definition has {given} bytes, {GIVEN_BYTES} are the most"),
            "Shorten the title, the body or the message.",
        ));
    }
    Ok(())
}
