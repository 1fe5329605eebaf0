//! The work of an attempt: the tree, the runs of steps, the patch.
//!
//! Owns what happens between the start and the end, and whose fault it is when it does not work out. It may be cut off at any
//! await: whoever does that lets go of the containers and the workspace. Invariant: the patch is computed only after
//! everything in the containers was ended.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use broker::BlobError;
use bytes::Bytes;
use events::blob::BlobRef;
use events::job::{Failure, FailureKind};
use events::log::Stream;
use events::report::What;
use events::ticket::Ticket;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use spec::{Action, Definition, FileChanges, Step};
use tokio::time::Instant;

use super::hands::Hands;
use super::runs;
use super::story::{Capture, Story};
use super::workspace_of;
use crate::journal::{Leftover, attempt_of};
use crate::log::Log;
use crate::outbox::Outbox;
use crate::patch::{self, FileLists, Patch};
use crate::sandbox::{Container, ContainerSpec, ImageSource, Main, Output, Trouble, WORK};
use crate::service::Shared;
use crate::tree_cache::Commit;
use crate::workspace::Workspace;

/// The largest patch: more than any code host takes in one change.
const PATCH_BYTES: u64 = 100 * 1024 * 1024;

/// Why the work did not come to its end.
pub(super) enum Broken {
    /// The job's own doing: it fails.
    User(Failure),
    /// Not the job's doing: another attempt may do better.
    Ours(anyhow::Error),
}

impl From<anyhow::Error> for Broken {
    fn from(error: anyhow::Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::User(failure)
    }
}

impl From<patch::Error> for Broken {
    fn from(error: patch::Error) -> Self {
        let hint = match &error {
            patch::Error::TooDeep(_) => "Let the step nest fewer folders, or remove them before it ends.",
            patch::Error::TooLarge { .. } => {
                "Let the steps change less, or have what they generate ignored by .gitignore."
            }
            patch::Error::Ours(_) => return Self::Ours(error.into()),
        };
        Self::User(failure(FailureKind::Workspace, error.to_string(), hint))
    }
}

fn failure(kind: FailureKind, message: String, hint: &str) -> Failure {
    Failure { kind, step: None, exit_code: None, message, hint: hint.to_owned() }
}

/// What the work needs.
pub(super) struct Work<'a> {
    pub(super) shared: &'a Shared,
    pub(super) begun: &'a Leftover,
    pub(super) log: &'a Log,
    pub(super) outbox: &'a mut Outbox,
    pub(super) hands: &'a Hands,
}

/// A container and the steps that it is for.
struct Prepared {
    container: Container,
    is_idle: bool,
}

impl Work<'_> {
    /// Runs the job's steps, and says what they changed.
    pub(super) async fn perform(mut self) -> Result<Patch, Broken> {
        let definition = read(&self.begun.ticket)?;
        let steps = &definition.steps;
        if steps.is_empty() {
            return Ok(Patch::default());
        }
        let mut story = Story::new(&self.begun.ticket, &definition);
        let root = workspace_of(&self.begun.folder);
        Workspace::reserve(&root)?;
        let mut runs = runs::of(steps).into_iter();
        let first = runs.next().context("there are steps")?;
        // The engine needs as long for a container as a cached tree takes to be mounted.
        let (workspace, mut prepared) =
            tokio::try_join!(self.open_workspace(&root), self.prepare(steps, first.clone(), &story))?;
        let mut run = first;
        loop {
            self.run(steps, run.clone(), &prepared, (&mut story, &workspace)).await?;
            match runs.next() {
                Some(next) => run = next,
                None => break,
            }
            prepared = self.prepare(steps, run.clone(), &story).await?;
        }
        Ok(patch::compute(&workspace, &self.begun.ticket.workspace.base_oid, PATCH_BYTES).await?)
    }

    async fn open_workspace(&self, root: &Path) -> Result<Workspace, Broken> {
        let place = &self.begun.ticket.workspace;
        let commit = Commit {
            repository: place.repository.clone(),
            base_ref: place.base_ref.clone(),
            base_oid: place.base_oid.clone(),
        };
        let tree = self.shared.trees.get(&commit, |to| fetch(self.shared, &place.source, to)).await?;
        Ok(Workspace::open(root, tree, self.shared.mode).await?)
    }

    /// Creates the container for a run of steps.
    async fn prepare(&self, steps: &[Step], run: Range<usize>, story: &Story) -> Result<Prepared, Broken> {
        let (step, number) = (&steps[run.start], run.start as u32 + 1);
        let state = self.shared.health.watch().borrow().clone();
        let engine = state.engine.context("the container engine is away")?;
        let source = match &step.container {
            spec::Container::Image(template) => ImageSource::Reference(story.render(template, number)?),
            spec::Container::Dockerfile(text) => ImageSource::Dockerfile(text.clone()),
        };
        let main = main(step, run.len(), number, story)?;
        let read_only_files = self.files(step, number, story)?;
        let cache_dirs = self.cache_dirs(step)?;
        let log = self.log;
        let image =
            engine.image(&source, &mut |line| log.mention(&line)).await.map_err(|e| of_step(e, number))?;
        let path = &self.begun.ticket.workspace.path;
        let spec = ContainerSpec {
            execution: self.begun.ticket.execution,
            attempt: &attempt_of(&self.begun.ticket),
            image: &image,
            files: &Workspace::reserve(&workspace_of(&self.begun.folder))?,
            scratch: &self.begun.folder.join("scratch"),
            workdir: if path.is_empty() { WORK.to_owned() } else { format!("{WORK}/{path}") },
            cache_dirs: &cache_dirs,
            read_only_files: &read_only_files,
            main,
        };
        let is_idle = spec.main == Main::Idle;
        let container = engine.create(&spec).await.map_err(|trouble| of_step(trouble, number))?;
        self.hands.take(&container);
        Ok(Prepared { container, is_idle })
    }

    /// Writes the files down that a step finds in its container.
    fn files(&self, step: &Step, number: u32, story: &Story) -> Result<Vec<(PathBuf, String)>, Broken> {
        let folder = self.begun.folder.join(format!("files-{number}"));
        let mut files = Vec::new();
        for (index, (path, template)) in step.files.iter().enumerate() {
            let file = folder.join(index.to_string());
            let text = story.render(template, number)?;
            let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, text));
            written.context("a file for a step cannot be written")?;
            files.push((file, path.clone()));
        }
        Ok(files)
    }

    /// Makes the folders that are kept between the jobs of one repository.
    fn cache_dirs(&self, step: &Step) -> Result<Vec<(PathBuf, String)>, Broken> {
        let repository = &self.begun.ticket.workspace.repository;
        let mut folders = Vec::new();
        for path in &step.cache_dirs {
            let digest = Sha256::digest(format!("{}:{repository}:{path}", repository.len()));
            let folder = self.shared.journal.root().join("kept").join(hex::encode(&digest[..16]));
            std::fs::create_dir_all(&folder)
                .context("a folder that is kept for a repository cannot be made")?;
            folders.push((folder, path.clone()));
        }
        Ok(folders)
    }

    /// Runs steps in their container, and ends all that is left in it.
    async fn run(
        &mut self,
        steps: &[Step],
        run: Range<usize>,
        prepared: &Prepared,
        (story, workspace): (&mut Story, &Workspace),
    ) -> Result<(), Broken> {
        let container = &prepared.container;
        let last = run.end - 1;
        if prepared.is_idle {
            container.start().await.map_err(|trouble| of_step(trouble, run.start as u32 + 1))?;
        }
        for index in run {
            let next = steps.get(index + 1);
            let capture = self.step(&steps[index], index as u32 + 1, prepared, (story, next)).await?;
            if index == last && prepared.is_idle {
                // What a step left running must not change files while they are compared.
                container.kill(Duration::ZERO).await?;
            }
            let changes = match next {
                Some(next) if runs::mentions(next, "_files") => self.changes(workspace).await?,
                _ => FileChanges::default(),
            };
            story.step_ended(capture, changes);
        }
        Ok(())
    }

    /// Runs a step, and returns what it wrote as far as the next one wants to know.
    async fn step(
        &mut self,
        step: &Step,
        number: u32,
        prepared: &Prepared,
        (story, next): (&Story, Option<&Step>),
    ) -> Result<Capture, Broken> {
        let rendered = match &step.action {
            Action::Script(script) if prepared.is_idle => {
                Some((story.render(script, number)?, environment(step, number, story)?))
            }
            _ => None,
        };
        let wanted = next.is_some_and(|next| runs::mentions(next, "previous_step"));
        let mut output = StepOutput { log: self.log, step: number, wanted, capture: Capture::default() };
        let container = &prepared.container;
        self.outbox.push(What::StepStarted { step: number });
        let started = Instant::now();
        self.hands.set_busy(Some(container));
        let ended = match &rendered {
            Some((script, env)) => container.run_script(script, env, &mut output).await,
            None => container.run_main(&mut output).await,
        };
        self.hands.set_busy(None);
        self.log.end_step(number).await;
        let exit_code = ended.map_err(|trouble| of_step(trouble, number))?;
        if self.hands.is_stopping() {
            return Err(Broken::Ours(anyhow!("step {number} was stopped")));
        }
        let duration_ms = started.elapsed().as_millis() as u64;
        self.outbox.push(What::StepFinished { step: number, exit_code, duration_ms });
        if exit_code == 0 { Ok(output.capture) } else { Err(exit(number, exit_code).into()) }
    }

    async fn changes(&self, workspace: &Workspace) -> Result<FileChanges, Broken> {
        let lists = patch::file_lists(workspace, &self.begun.ticket.workspace.base_oid).await?;
        let FileLists { added, modified, deleted, renamed } = lists;
        Ok(FileChanges { modified, added, deleted, renamed })
    }
}

/// Where a step's output goes.
struct StepOutput<'a> {
    log: &'a Log,
    step: u32,
    wanted: bool,
    capture: Capture,
}

impl Output for StepOutput<'_> {
    fn write(&mut self, stream: Stream, bytes: Bytes) -> BoxFuture<'_, ()> {
        if self.wanted {
            self.capture.take(stream, &bytes);
        }
        self.log.write(self.step, stream, bytes).boxed()
    }
}

/// Reads the definition that the ticket pins.
fn read(ticket: &Ticket) -> Result<Definition, Failure> {
    spec::parse(&spec::Source::from(&ticket.definition)).map(|parsed| parsed.definition).map_err(|diagnostics| {
        let error = diagnostics.as_slice().iter().find(|diagnostic| diagnostic.severity == spec::Severity::Error);
        let message = error.map_or_else(String::new, |error| {
            format!("{} line {}: {}", error.file, error.line, error.message)
        });
        let hint = "The runner reads definitions by other rules than the gateway did: let both be of one version.";
        failure(FailureKind::Template, format!("the definition cannot be read: {message}"), hint)
    })
}

/// What a run's container runs.
fn main(step: &Step, steps: usize, number: u32, story: &Story) -> Result<Main, Failure> {
    Ok(match &step.action {
        Action::Script(_) if steps > 1 => Main::Idle,
        Action::Script(script) => {
            Main::Script { script: story.render(script, number)?, env: environment(step, number, story)? }
        }
        Action::Arguments(args) => {
            let args = (!args.is_empty()).then(|| args.clone());
            Main::Entrypoint { args, env: environment(step, number, story)? }
        }
        Action::Command(command) => {
            Main::Command { command: command.clone(), env: environment(step, number, story)? }
        }
    })
}

fn environment(step: &Step, number: u32, story: &Story) -> Result<Vec<(String, String)>, Failure> {
    step.env.iter().map(|(name, value)| Ok((name.clone(), story.render(value, number)?))).collect()
}

/// What the sandbox says, with the step that it is about.
fn of_step(trouble: Trouble, number: u32) -> Broken {
    match trouble {
        Trouble::User(failure) => Broken::User(Failure { step: failure.step.or(Some(number)), ..failure }),
        Trouble::Engine(error) => Broken::Ours(error.context("the container engine failed")),
    }
}

fn exit(step: u32, exit_code: i64) -> Failure {
    let hint = match exit_code {
        126 | 127 => "A command was not found or cannot be executed: does the image have it?",
        137 => "It was killed: perhaps it needs more memory than there is.",
        _ => "The end of its log says why: `patchwave job logs`.",
    };
    Failure {
        kind: FailureKind::StepExit,
        step: Some(step),
        exit_code: Some(exit_code),
        message: format!("step {step} ended with exit code {exit_code}"),
        hint: hint.to_owned(),
    }
}

/// Fetches a commit's packfile, however long the broker is away.
async fn fetch(shared: &Shared, source: &BlobRef, to: PathBuf) -> anyhow::Result<()> {
    loop {
        let mut file = tokio::fs::File::create(&to).await?;
        match shared.broker.get_blob_to(source, &mut file).await {
            Err(BlobError::Read(error)) => {
                tracing::debug!(%error, "a repository's files cannot be fetched yet");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => return Ok(other?),
        }
    }
}
