//! The story so far: what the templates of the next step know.
//!
//! Owns a step's captured output, in bounded memory, and the words of a failed rendering. Invariant: a template never sees
//! output that was cut short.

use crate::secrets::Secrets;
use events::job::{Failure, FailureKind};
use events::log::Stream;
use events::ticket::Ticket;
use spec::{BatchChange, Context, Definition, FileChanges, Repository, StepResult, Steps, Template};

/// How much of a step's standard output, and of its standard error, the next step's templates can use.
const CAPTURE_BYTES: usize = 1024 * 1024;

/// What a step wrote, as far as it is kept.
#[derive(Default)]
pub(super) struct Capture {
    stdout: Kept,
    stderr: Kept,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Capture {
    /// Takes the next bytes.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
            Stream::Runner => return,
        };
        let room = CAPTURE_BYTES - kept.bytes.len();
        kept.is_cut |= bytes.len() > room;
        kept.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// What templates know.
pub(super) struct Story {
    context: Context,
    /// The streams of the previous step that were cut short.
    cut: Vec<&'static str>,
    secrets: Secrets,
}

impl Story {
    /// Before the first step.
    pub(super) fn new(ticket: &Ticket, definition: &Definition, secrets: Secrets) -> Self {
        let workspace = &ticket.workspace;
        let branch = workspace.base_ref.as_str();
        let repository = Repository {
            name: workspace.repository.clone(),
            branch: branch.strip_prefix("refs/heads/").unwrap_or(branch).to_owned(),
            search_result_paths: Vec::new(),
        };
        let batch_change =
            BatchChange { name: definition.name.clone(), description: definition.description.clone() };
        let steps = Steps { path: workspace.path.clone(), ..Steps::default() };
        let context = Context { repository, batch_change, previous_step: StepResult::default(), steps };
        Self { context, cut: Vec::new(), secrets }
    }

    /// What steps find as variables. Templates never see a value.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Takes in what a step wrote and what has changed since the first.
    pub(super) fn step_ended(&mut self, capture: Capture, changes: FileChanges) {
        let masker = self.secrets.masker();
        // What was cut short is never used, so no value can be hidden in part.
        let text = |kept: Kept| String::from_utf8_lossy(&masker.whole(kept.bytes.into())).into_owned();
        let hide = |paths: Vec<String>| paths.iter().map(|path| masker.text(path)).collect();
        let changes = FileChanges {
            modified: hide(changes.modified),
            added: hide(changes.added),
            deleted: hide(changes.deleted),
            renamed: hide(changes.renamed),
        };
        let streams = [("stdout", &capture.stdout), ("stderr", &capture.stderr)];
        self.cut = streams.iter().filter(|(_, kept)| kept.is_cut).map(|(name, _)| *name).collect();
        self.context.previous_step = StepResult {
            stdout: text(capture.stdout),
            stderr: text(capture.stderr),
            changes: changes.clone(),
        };
        self.context.steps.changes = changes;
    }

    /// Renders a template of a step, numbered from 1.
    pub(super) fn render(&self, template: &Template, step: u32) -> Result<String, Failure> {
        let failure = |message: String, hint: &str| Failure {
            kind: FailureKind::Template,
            step: Some(step),
            exit_code: None,
            limit: None,
            message,
            hint: hint.to_owned(),
        };
        let source = template.source();
        let uses_cut = |name: &&&str| source.contains("previous_step") && source.contains(**name);
        if let Some(name) = self.cut.iter().find(uses_cut) {
            let message = format!(
                "step {step} uses previous_step.{name}, of which there are more than {CAPTURE_BYTES} bytes"
            );
            return Err(failure(message, "Let the earlier step write less, or pass it on in a file."));
        }
        template.render(&self.context).map_err(|error| {
            failure(
                format!("step {step} cannot be prepared: {error}"),
                "Correct the template in the definition.",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_bounded_and_says_when_it_is_cut() {
        let mut capture = Capture::default();
        capture.take(Stream::Stdout, &vec![b'x'; CAPTURE_BYTES]);
        assert!(!capture.stdout.is_cut);
        capture.take(Stream::Stderr, b"e");
        capture.take(Stream::Stdout, b"y");
        assert!(capture.stdout.is_cut);
        assert!(!capture.stderr.is_cut);
        assert_eq!(capture.stdout.bytes.len(), CAPTURE_BYTES);
    }
}
