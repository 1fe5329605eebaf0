//! What an attempt needs before its first step: the definition, the workspace, the first container.
//!
//! Owns what is done before anything of the job's own runs. It may be cut off at any await, as the work may.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use broker::BlobError;
use events::blob::BlobRef;
use events::job::{Failure, FailureKind};
use events::ticket::{self, Ticket};
use sha2::{Digest as _, Sha256};
use spec::{Action, Definition, FileChanges, Mount, Step};

use super::hands::Hands;
use super::results::{Done, Results};
use super::resume::Resumed;
use super::runs::{self, Course, Run, number};
use super::story::Story;
use super::work::{Broken, environment, failure, of_step};
use super::workspace_of;
use crate::journal::{Leftover, attempt_of};
use crate::limits::Limits;
use crate::log::Log;
use crate::mounted::Mounted;
use crate::outbox::Outbox;
use crate::patch::{self, FileLists};
use crate::sandbox::{Container, ContainerSpec, ImageSource, Login, Main, WORK};
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
    /// The logins for registries.
    pub(super) logins: &'a [Login],
    pub(super) results: &'a Results,
}

/// An attempt whose first step can begin.
pub(super) struct Ready<'a> {
    pub(super) definition: &'a Definition,
    pub(super) story: Story,
    /// What steps came to that need not run, if there are such.
    pub(super) done: Option<Done>,
    /// What comes after the first run.
    pub(super) course: Course<'a>,
    /// The first run of steps and where it happens; none for a job of which no step runs.
    pub(super) first: Option<(Workspace, Run, Prepared)>,
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
    pub(super) async fn ready(self, outbox: &mut Outbox) -> Result<Ready<'a>, Broken> {
        let definition = self.definition.as_ref().map_err(Failure::clone)?;
        self.secrets.check(definition)?;
        let mut story = Story::new(&self.begun.ticket, definition, self.secrets.clone());
        let root = workspace_of(&self.begun.folder);
        Workspace::reserve(&root)?;
        let resumed = self.resume(definition, &mut story, &root, outbox).await?;
        let Resumed { done, steps, mut workspace, has_images } = resumed;
        let mut course = Course::of(definition, &story, steps);
        let Some(run) = course.next(&story)? else {
            return Ok(Ready { definition, story, done, course, first: None });
        };
        let opened = async {
            match workspace.take() {
                Some(workspace) => Ok(workspace),
                None => self.open_workspace(definition, &root).await,
            }
        };
        let prepare = async {
            if !has_images {
                self.find_images(definition, &story, outbox).await?;
            }
            self.prepare(definition, &run, &story).await
        };
        // The engine needs as long for a container as a cached tree takes to be mounted.
        let (workspace, prepared) = tokio::try_join!(opened, prepare)?;
        Ok(Ready { definition, story, done, course, first: Some((workspace, run, prepared)) })
    }

    pub(super) async fn open_workspace(
        &self,
        definition: &Definition,
        root: &Path,
    ) -> Result<Workspace, Broken> {
        let place = &self.begun.ticket.workspace;
        let commit = Commit {
            repository: place.repository.clone(),
            base_ref: place.base_ref.clone(),
            base_oid: place.base_oid.clone(),
            only: only(definition, place)?,
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
        run: &[usize],
        story: &Story,
    ) -> Result<Prepared, Broken> {
        let (step, number) = (&definition.steps[run[0]], number(run[0]));
        let (engine, place) = (self.engine()?, self.place(definition));
        let source = match &step.container {
            spec::Container::Image(template) => ImageSource::Reference(story.render(template, number)?),
            spec::Container::Dockerfile(text) => ImageSource::Dockerfile(text.clone()),
        };
        let main = main((&definition.steps, run), engine.shares_pipes(), story)?;
        let mut read_only_files = self.files(step, number, story)?;
        read_only_files.extend(self.mounts(step).await?);
        let cache_dirs = self.cache_dirs(step, &definition.name)?;
        let image = self.image(&engine, source, place).await.map_err(|trouble| of_step(trouble, number))?;
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

/// What was changed in a workspace so far, by files. Nothing moves meanwhile.
pub(super) async fn changes_in(workspace: &Workspace, ticket: &Ticket) -> Result<FileChanges, patch::Error> {
    let lists = patch::file_lists(workspace, &ticket.workspace.base_oid).await?;
    let FileLists { added, modified, deleted, renamed } = lists;
    Ok(FileChanges { modified, added, deleted, renamed })
}

/// Reads the definition that the ticket pins.
pub(super) fn read(ticket: &Ticket, command_image: &str) -> Result<Definition, Failure> {
    let source = spec::Source { command_image, ..spec::Source::from(&ticket.definition) };
    spec::parse(&source).map(|parsed| parsed.definition).map_err(|diagnostics| {
        let error =
            diagnostics.as_slice().iter().find(|diagnostic| diagnostic.severity == spec::Severity::Error);
        let message = error.map_or_else(String::new, |error| {
            format!("{} line {}: {}", error.file, error.line, error.message)
        });
        let hint =
            "The runner reads definitions by other rules than the gateway did: let both be of one version.";
        failure(FailureKind::Template, format!("the definition cannot be read: {message}"), hint)
    })
}

/// The one folder that the job gets the files of, if it gets those of one alone.
fn only(definition: &Definition, place: &ticket::Workspace) -> Result<Option<String>, Failure> {
    let only = definition.fetches_only(&place.repository, &place.path).map_err(|error| {
        failure(FailureKind::Template, error.to_string(), "Correct `workspaces` in the definition.")
    })?;
    Ok(only.then(|| place.path.clone()))
}

/// What a run's container runs.
fn main((steps, run): (&[Step], &[usize]), shares_pipes: bool, story: &Story) -> Result<Main, Failure> {
    let (step, number) = (&steps[run[0]], number(run[0]));
    Ok(match &step.action {
        Action::Script(_) if run.len() > 1 => {
            let known = if shares_pipes { known_scripts(steps, run, story) } else { None };
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
fn known_scripts(steps: &[Step], run: &[usize], story: &Story) -> Option<Main> {
    let mut scripts = Vec::new();
    let mut variables = None;
    for position in run {
        let (step, number) = (&steps[*position], number(*position));
        let first = variables.is_none();
        if !first && runs::HAPPENED.iter().any(|name| runs::mentions(step, name)) {
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
