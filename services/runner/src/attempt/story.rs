//! The story so far: what the templates of the next step know.
//!
//! Owns a step's captured output, in bounded memory, and the words of a failed rendering. Invariant: a template never sees
//! output that was cut short.

use super::results::Said;
use crate::secrets::Secrets;
use events::job::{DiffStat, Failure, FailureKind, Outputs};
use events::log::Stream;
use events::ticket::Ticket;
use spec::{Context, Definition, FileChanges, Step, StepResult, Template};

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
#[cfg_attr(test, derive(Default))]
pub(super) struct Story {
    context: Context,
    /// The streams of the previous step that were cut short.
    cut: Vec<&'static str>,
    secrets: Secrets,
}

impl Story {
    /// Before the first step.
    pub(super) fn new(ticket: &Ticket, definition: &Definition, secrets: Secrets) -> Self {
        let place = &ticket.workspace;
        let context = Context::of(definition, &place.repository, &place.base_ref, &place.path);
        Self { context, cut: Vec::new(), secrets }
    }

    /// What steps find as variables. Templates never see a value.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Goes on after steps that need not run. `changes` are those that they made, where somebody asks.
    pub(super) fn resume(&mut self, said: &Said, changes: FileChanges) -> anyhow::Result<()> {
        self.context.outputs = spec::Outputs::default();
        for (name, value) in &said.outputs {
            self.context.outputs.set(name, serde_json::from_value(value.clone())?)?;
        }
        self.context.steps.changes = changes.clone();
        let (stdout, stderr) = (said.stdout.clone(), said.stderr.clone());
        self.context.previous_step = StepResult { stdout, stderr, changes };
        self.cut =
            ["stdout", "stderr"].into_iter().filter(|name| said.cut.iter().any(|cut| cut == name)).collect();
        Ok(())
    }

    /// What the steps so far came to, apart from their changes.
    pub(super) fn said(&self, diff_stat: DiffStat) -> anyhow::Result<Said> {
        let StepResult { stdout, stderr, .. } = self.context.previous_step.clone();
        let cut = self.cut.iter().map(|name| (*name).to_owned()).collect();
        Ok(Said { diff_stat, outputs: self.outputs()?, stdout, stderr, cut, ..Said::default() })
    }

    /// What it amounts to.
    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    /// What the steps handed on.
    pub(super) fn outputs(&self) -> anyhow::Result<Outputs> {
        Ok(serde_json::from_value(serde_json::to_value(&self.context.outputs)?)?)
    }

    /// Whether a step runs, which has the number from 1.
    pub(super) fn runs(&self, step: &Step, number: u32) -> Result<bool, Failure> {
        let Some(condition) = &step.condition else { return Ok(true) };
        self.whole(condition, number)?;
        step.runs(&self.context).map_err(|error| unready(number, &error))
    }

    /// Takes in what a step wrote and what has changed since the first, and reads what the step hands on.
    pub(super) fn step_ended(
        &mut self,
        (step, number): (&Step, u32),
        capture: Capture,
        changes: FileChanges,
    ) -> Result<(), Failure> {
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
        let cut: Vec<&str> = streams.iter().filter(|(_, kept)| kept.is_cut).map(|(name, _)| *name).collect();
        self.context.step = StepResult {
            stdout: text(capture.stdout),
            stderr: text(capture.stderr),
            changes: changes.clone(),
        };
        self.context.steps.changes = changes;
        for output in &step.outputs {
            self.whole(&output.value, number)?;
            if let Some(name) = cut.iter().find(|name| output.value.source().contains(**name)) {
                return Err(too_long(number, &format!("step.{name}")));
            }
            let set = output.read(&self.context);
            let set = set.and_then(|value| self.context.outputs.set(&output.name, value));
            set.map_err(|error| {
                let message = format!("step {number} hands nothing on: {error}");
                template_failure(
                    number,
                    message,
                    "Correct the output in the definition, or what the step prints.",
                )
            })?;
        }
        self.cut = cut;
        self.context.previous_step = std::mem::take(&mut self.context.step);
        Ok(())
    }

    /// Renders a template of a step, numbered from 1.
    pub(super) fn render(&self, template: &Template, step: u32) -> Result<String, Failure> {
        self.whole(template, step)?;
        template.render(&self.context).map_err(|error| unready(step, &error))
    }

    /// Refuses a template that uses what was cut short.
    fn whole(&self, template: &Template, step: u32) -> Result<(), Failure> {
        let source = template.source();
        let uses_cut = |name: &&&str| source.contains("previous_step") && source.contains(**name);
        match self.cut.iter().find(uses_cut) {
            Some(name) => Err(too_long(step, &format!("previous_step.{name}"))),
            None => Ok(()),
        }
    }
}

fn too_long(step: u32, name: &str) -> Failure {
    let message = format!("step {step} uses {name}, of which there are more than {CAPTURE_BYTES} bytes");
    template_failure(step, message, "Let the step that writes it write less, or pass it on in a file.")
}

fn unready(step: u32, error: &spec::RenderError) -> Failure {
    let message = format!("step {step} cannot be prepared: {error}");
    template_failure(step, message, "Correct the template in the definition.")
}

fn template_failure(step: u32, message: String, hint: &str) -> Failure {
    let kind = FailureKind::Template;
    Failure { kind, step: Some(step), exit_code: None, limit: None, message, hint: hint.to_owned() }
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
