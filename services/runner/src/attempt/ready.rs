//! What an attempt needs before its first step: the definition, the workspace, the first container.
//!
//! Owns what is done before anything of the job's own runs. It may be cut off at any await, as the work may.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use broker::BlobError;
use events::blob::BlobRef;
use events::job::{Failure, FailureKind};
use events::ticket::Ticket;
use sha2::{Digest as _, Sha256};
use spec::{Action, Definition, Mount, Step};

use super::hands::Hands;
use super::runs;
use super::story::Story;
use super::work::{Broken, environment, failure, of_step};
use super::workspace_of;
use crate::journal::{Leftover, attempt_of};
use crate::limits::Limits;
use crate::log::Log;
use crate::mounted::Mounted;
use crate::reach::Reach;
use crate::sandbox::{Container, ContainerSpec, Grant, ImageSource, Main, Place, WORK};
use crate::secrets::Secrets;
use crate::service::Shared;
use crate::tree_cache::Commit;
use crate::usage::Watch;
use crate::workspace::Workspace;

/// What all that happens to an attempt needs.
#[derive(Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) shared: &'a Shared,
    pub(super) begun: &'a Leftover,
    pub(super) slot: u32,
    pub(super) log: &'a Log,
    pub(super) hands: &'a Hands,
    /// What the ticket says, or why that cannot be read.
    pub(super) definition: &'a Result<Definition, Failure>,
    pub(super) limits: &'a Limits,
    pub(super) watch: &'a Watch,
    pub(super) secrets: &'a Secrets,
}

/// An attempt whose first step can begin.
pub(super) struct Ready<'a> {
    pub(super) definition: &'a Definition,
    pub(super) story: Story,
    /// Where the first run of steps happens; none for a job without steps.
    pub(super) place: Option<(Workspace, Prepared)>,
}

/// A container and the steps that it is for.
pub(super) struct Prepared {
    pub(super) container: Container,
    pub(super) way: Way,
}

/// How the steps of a run come into its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// One after the other, each by exec.
    Exec,
    /// All with the container, one after the other.
    Scripts,
    /// The one step is the container's main process.
    Main,
}

impl<'a> Setup<'a> {
    /// Makes the first step ready to begin.
    pub(super) async fn ready(self) -> Result<Ready<'a>, Broken> {
        let definition = self.definition.as_ref().map_err(Failure::clone)?;
        self.secrets.check(definition)?;
        let story = Story::new(&self.begun.ticket, definition, self.secrets.clone());
        let Some(first) = runs::of(&definition.steps).into_iter().next() else {
            return Ok(Ready { definition, story, place: None });
        };
        let root = workspace_of(&self.begun.folder);
        Workspace::reserve(&root)?;
        // The engine needs as long for a container as a cached tree takes to be mounted.
        let place = tokio::try_join!(self.open_workspace(&root), self.prepare(definition, first, &story))?;
        Ok(Ready { definition, story, place: Some(place) })
    }

    async fn open_workspace(&self, root: &Path) -> Result<Workspace, Broken> {
        let place = &self.begun.ticket.workspace;
        let commit = Commit {
            repository: place.repository.clone(),
            base_ref: place.base_ref.clone(),
            base_oid: place.base_oid.clone(),
        };
        let tree = self.shared.trees.get(&commit, |to| fetch(self.shared, &place.source, to)).await?;
        let workspace = Workspace::open(root, tree, self.shared.mode).await?;
        if workspace.written().is_none() {
            self.watch.begin().await?;
        }
        Ok(workspace)
    }

    /// Creates the container for a run of steps.
    pub(super) async fn prepare(
        &self,
        definition: &Definition,
        run: Range<usize>,
        story: &Story,
    ) -> Result<Prepared, Broken> {
        let steps = &definition.steps;
        let (step, number) = (&steps[run.start], run.start as u32 + 1);
        let state = self.shared.health.watch().borrow().clone();
        let engine = state.engine.context("the container engine is away")?;
        let source = match &step.container {
            spec::Container::Image(template) => ImageSource::Reference(story.render(template, number)?),
            spec::Container::Dockerfile(text) => ImageSource::Dockerfile(text.clone()),
        };
        let main = main(&steps[run], engine.shares_pipes(), number, story)?;
        let mut read_only_files = self.files(step, number, story)?;
        read_only_files.extend(self.mounts(step).await?);
        let cache_dirs = self.cache_dirs(step, &definition.name)?;
        let reach = Reach::granted(definition.settings.network, self.shared.most);
        let place = Place { slot: self.slot, reach };
        let log = self.log;
        let grant = Grant { place, limits: self.limits };
        let image = engine.image(&source, grant, &mut |line| log.mention(&line)).await;
        let image = image.map_err(|trouble| of_step(trouble, number))?;
        let path = &self.begun.ticket.workspace.path;
        let spec = ContainerSpec {
            execution: self.begun.ticket.execution,
            attempt: &attempt_of(&self.begun.ticket),
            place,
            limits: self.limits,
            image: &image,
            files: &Workspace::reserve(&workspace_of(&self.begun.folder))?,
            scratch: &self.begun.folder,
            workdir: if path.is_empty() { WORK.to_owned() } else { format!("{WORK}/{path}") },
            cache_dirs: &cache_dirs,
            read_only_files: &read_only_files,
            main,
        };
        let way = match spec.main {
            Main::Idle => Way::Exec,
            Main::Scripts { .. } => Way::Scripts,
            Main::Script { .. } | Main::Entrypoint { .. } | Main::Command { .. } => Way::Main,
        };
        let container = engine.create(&spec).await.map_err(|trouble| of_step(trouble, number))?;
        self.hands.take(&container);
        Ok(Prepared { container, way })
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

    /// The action's own files and folders that a step finds in its container.
    async fn mounts(&self, step: &Step) -> Result<Vec<(PathBuf, String)>, Broken> {
        if step.mounts.is_empty() {
            return Ok(Vec::new());
        }
        let blob = self.begun.ticket.definition.files.as_deref();
        let blob = blob.context("the ticket names no files, but a step mounts some")?;
        let unpack = || Mounted::get(&self.shared.folders, blob, |to| fetch(self.shared, blob, to));
        let mounted = self.hands.mounted().get_or_try_init(unpack).await.map_err(of_files)?;
        let place = |mount: &Mount| Ok((mounted.place(&mount.path)?, mount.mountpoint.clone()));
        Ok(step.mounts.iter().map(place).collect::<anyhow::Result<_>>()?)
    }

    /// Makes the folders that are kept between the jobs of one action in one repository: what one action writes there
    /// is code that another would run.
    fn cache_dirs(&self, step: &Step, action: &str) -> Result<Vec<(PathBuf, String)>, Broken> {
        let repository = &self.begun.ticket.workspace.repository;
        let mut folders = Vec::new();
        for path in &step.cache_dirs {
            let key = format!("{}:{action}:{}:{repository}:{path}", action.len(), repository.len());
            let digest = Sha256::digest(key);
            let folder = self.shared.kept.take(hex::encode(&digest[..16]))?;
            folders.push((folder.path(), path.clone()));
            self.watch.keep(folder);
        }
        Ok(folders)
    }
}

/// Reads the definition that the ticket pins.
pub(super) fn read(ticket: &Ticket) -> Result<Definition, Failure> {
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
fn main(run: &[Step], shares_pipes: bool, number: u32, story: &Story) -> Result<Main, Failure> {
    let step = run.first().ok_or_else(|| failure(FailureKind::Template, "no steps".to_owned(), ""))?;
    Ok(match &step.action {
        Action::Script(_) if run.len() > 1 => {
            let known = if shares_pipes { known_scripts(run, number, story) } else { None };
            known.unwrap_or(Main::Idle)
        }
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

/// The scripts of a run, if all are known now and have the same variables.
fn known_scripts(run: &[Step], number: u32, story: &Story) -> Option<Main> {
    let mut scripts = Vec::new();
    let mut variables = None;
    for (step, number) in run.iter().zip(number..) {
        let first = variables.is_none();
        if !first && ["previous_step", "steps"].iter().any(|name| runs::mentions(step, name)) {
            return None;
        }
        let Action::Script(script) = &step.action else { return None };
        // One that cannot be rendered fails when its turn comes.
        scripts.push(story.render(script, number).ok()?);
        let env = environment(step, number, story).ok()?;
        if variables.get_or_insert_with(|| env.clone()) != &env {
            return None;
        }
    }
    Some(Main::Scripts { scripts, env: variables? })
}

/// An archive that this runner does not take comes no better from another attempt.
fn of_files(error: anyhow::Error) -> Broken {
    match error.downcast_ref::<archive::Error>() {
        Some(archive::Error::Refused(rejection)) => {
            let message = format!("the action's files cannot be unpacked: {}", rejection.message);
            failure(FailureKind::Workspace, message, &rejection.hint).into()
        }
        _ => Broken::Ours(error.context("the action's files cannot be had")),
    }
}

/// Fetches a blob into a file, however long the broker is away.
async fn fetch(shared: &Shared, source: &BlobRef, to: PathBuf) -> anyhow::Result<()> {
    loop {
        let mut file = tokio::fs::File::create(&to).await?;
        match shared.broker.get_blob_to(source, &mut file).await {
            Err(BlobError::Read(error)) => {
                tracing::debug!(%error, "files cannot be fetched yet");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => return Ok(other?),
        }
    }
}
