//! The work of an attempt: the runs of steps, and the patch.
//!
//! Owns what happens while the attempt has its slot, and whose fault it is when it does not work out. It may be cut off at any
//! await: whoever does that lets go of the containers and the workspace. Invariant: the patch is computed only after
//! everything in the containers was ended.

use std::ops::Range;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use events::job::{Failure, FailureKind, LimitName};
use events::log::Stream;
use events::report::What;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use spec::{Action, FileChanges, Step};
use tokio::time::Instant;

use super::ready::{Prepared, Ready, Setup, Way};
use super::runs;
use super::story::{Capture, Story};
use crate::limits::{at, reached};
use crate::log::Log;
use crate::outbox::Outbox;
use crate::patch::{self, FileLists, Patch};
use crate::sandbox::{Container, Output, Scripts, Trouble};
use crate::workspace::Workspace;

/// The largest patch: more than any code host takes in one change.
const PATCH_BYTES: u64 = 100 * 1024 * 1024;

/// Why the work did not come to its end.
pub(super) enum Broken {
    /// The job's own doing: it fails.
    User(Failure),
    /// A step took longer than it may.
    TimedOut { step: u32, limit_ms: u64 },
    /// Not the job's doing: another attempt may do better.
    Ours(anyhow::Error),
    /// Neither the job's doing nor this runner's: another attempt may do better, here as well.
    Elsewhere(anyhow::Error),
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
        let kind = match &error {
            patch::Error::Secret { .. } => FailureKind::Secret,
            _ => FailureKind::Workspace,
        };
        let hint = match &error {
            patch::Error::Secret { .. } => {
                "Let the steps write it outside of the repository, or have the file ignored by .gitignore."
            }
            patch::Error::TooDeep(_) => "Let the step nest fewer folders, or remove them before it ends.",
            patch::Error::TooLarge { .. } => {
                "Let the steps change less, or have what they generate ignored by .gitignore."
            }
            patch::Error::Ours(_) => return Self::Ours(error.into()),
        };
        Self::User(failure(kind, error.to_string(), hint))
    }
}

pub(super) fn failure(kind: FailureKind, message: String, hint: &str) -> Failure {
    Failure { kind, step: None, exit_code: None, limit: None, message, hint: hint.to_owned() }
}

/// The steps of an attempt, while they run.
pub(super) struct Work<'a> {
    pub(super) setup: Setup<'a>,
    pub(super) outbox: &'a mut Outbox,
}

impl Work<'_> {
    /// Runs the job's steps, and says what they changed.
    pub(super) async fn perform(mut self) -> Result<Patch, Broken> {
        let Ready { definition, mut story, place } = self.setup.ready().await?;
        let Some((workspace, mut prepared)) = place else { return Ok(Patch::default()) };
        let steps = &definition.steps;
        for (index, run) in runs::of(steps).into_iter().enumerate() {
            if index > 0 {
                prepared = self.setup.prepare(definition, run.clone(), &story).await?;
            }
            self.run(steps, run, &prepared, (&mut story, &workspace)).await?;
        }
        // A step may have ended before anybody looked.
        if let Some(failure) = self.setup.watch.look_at_workspace().await? {
            return Err(at(self.setup.hands.step(), failure).into());
        }
        let (base, masker) = (&self.setup.begun.ticket.workspace.base_oid, self.setup.secrets.masker());
        Ok(patch::compute(&workspace, base, PATCH_BYTES, masker).await?)
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
        let (first, last) = (run.start as u32 + 1, run.end - 1);
        let mut place = Place { container, way: prepared.way, scripts: None, kills: Some(0) };
        match prepared.way {
            Way::Exec => container.start().await.map_err(|trouble| of_step(trouble, first))?,
            Way::Scripts => {
                let scripts = container.start_scripts().await;
                place.scripts = Some(scripts.map_err(|trouble| of_step(trouble, first))?);
            }
            Way::Main => {}
        }
        for index in run {
            let next = steps.get(index + 1);
            let capture = self.step(&steps[index], index as u32 + 1, &mut place, (story, next)).await?;
            if index == last {
                // What a step left running must not change files while they are compared.
                place.end().await.map_err(|trouble| of_step(trouble, index as u32 + 1))?;
            } else {
                place.kills = container.memory_kills().await;
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
        place: &mut Place<'_>,
        (story, next): (&Story, Option<&Step>),
    ) -> Result<Capture, Broken> {
        let rendered = match &step.action {
            Action::Script(script) if place.way == Way::Exec => {
                Some((story.render(script, number)?, environment(step, number, story)?))
            }
            _ => None,
        };
        let wanted = next.is_some_and(|next| runs::mentions(next, "previous_step"));
        let mut output =
            StepOutput { log: self.setup.log, step: number, wanted, capture: Capture::default() };
        let container = place.container;
        self.outbox.push(What::StepStarted { step: number });
        let started = Instant::now();
        self.setup.hands.begin_step(container, number);
        let running = async {
            match (&rendered, &mut place.scripts) {
                (Some((script, env)), _) => container.run_script(script, env, &mut output).await,
                (None, Some(scripts)) => scripts.next(&mut output).await,
                (None, None) => container.run_main(&mut output).await,
            }
        };
        let ended = self.within(self.limit_of(step), running).await;
        self.setup.hands.end_step();
        self.setup.log.end_step(number).await;
        let ended = ended.map_err(|limit_ms| Broken::TimedOut { step: number, limit_ms })?;
        let exit_code = ended.map_err(|trouble| of_step(trouble, number))?;
        if self.setup.hands.is_stopping() {
            return Err(Broken::Ours(anyhow!("step {number} was stopped")));
        }
        let duration_ms = started.elapsed().as_millis() as u64;
        self.outbox.push(What::StepFinished { step: number, exit_code, duration_ms });
        if exit_code == 0 { Ok(output.capture) } else { Err(self.why(number, exit_code, place).await) }
    }

    /// How long a step may take, if not as long as the job.
    fn limit_of(&self, step: &Step) -> Option<Duration> {
        let settings = self.setup.definition.as_ref().ok().map(|definition| &definition.settings);
        step.timeout.or_else(|| settings?.step_timeout)
    }

    /// Waits for the end of a step, or ends it with all that it started and says after how many milliseconds.
    async fn within<T>(&self, limit: Option<Duration>, running: impl Future<Output = T>) -> Result<T, u64> {
        let Some(limit) = limit else { return Ok(running.await) };
        let mut running = std::pin::pin!(running);
        tokio::select! {
            ended = &mut running => Ok(ended),
            () = tokio::time::sleep(limit) => {
                super::stop(self.setup.hands, self.setup.shared.grace, running).await;
                Err(limit.as_millis() as u64)
            }
        }
    }

    /// Why a step ended with another code than 0: a limit, if one was reached, before all that the code may mean.
    async fn why(&self, step: u32, exit_code: i64, place: &mut Place<'_>) -> Broken {
        match self.limit_behind(place).await {
            Ok(Some(failure)) => Failure { exit_code: Some(exit_code), ..at(Some(step), failure) }.into(),
            Ok(None) => exit(step, exit_code).into(),
            // The step failed, whether anybody can say more of it or not.
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "it is not known whether a step reached a limit"
                );
                exit(step, exit_code).into()
            }
        }
    }

    async fn limit_behind(&self, place: &mut Place<'_>) -> anyhow::Result<Option<Failure>> {
        let killed = place.killed().await;
        // The engine knows of memory that ran out once nothing runs any more.
        place.end().await.map_err(|trouble| match trouble {
            Trouble::Engine(error) => error,
            Trouble::User(failure) | Trouble::Registry(failure) => anyhow!(failure.message),
        })?;
        let ran_out = match killed {
            Some(killed) => killed,
            None => place.container.ran_out_of_memory().await?,
        };
        if ran_out {
            return Ok(Some(reached(LimitName::Memory, self.setup.limits.memory_bytes)));
        }
        self.setup.watch.look(&self.setup.hands.containers()).await
    }

    async fn changes(&self, workspace: &Workspace) -> Result<FileChanges, Broken> {
        let lists = patch::file_lists(workspace, &self.setup.begun.ticket.workspace.base_oid).await?;
        let FileLists { added, modified, deleted, renamed } = lists;
        Ok(FileChanges { modified, added, deleted, renamed })
    }
}

/// Where the steps of a run happen.
struct Place<'a> {
    container: &'a Container,
    way: Way,
    scripts: Option<Scripts>,
    /// How many processes had been killed for want of memory before the step, if that is known.
    kills: Option<u64>,
}

impl Place<'_> {
    /// Whether memory ran out during the step rather than an earlier one; none where the container as a whole has to say it.
    async fn killed(&mut self) -> Option<bool> {
        let before = self.kills.filter(|kills| *kills > 0)?;
        Some(self.container.memory_kills().await? > before)
    }

    /// Ends all that is left in the container.
    async fn end(&mut self) -> Result<(), Trouble> {
        match (self.way, self.scripts.take()) {
            (Way::Exec, _) => self.container.kill(Duration::ZERO).await.map_err(Trouble::Engine),
            (_, Some(scripts)) => scripts.finish().await,
            // A main process took all others with it.
            (_, None) => Ok(()),
        }
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

pub(super) fn environment(step: &Step, number: u32, story: &Story) -> Result<Vec<(String, String)>, Failure> {
    let rendered = step.env.iter().map(|(name, value)| Ok((name.clone(), story.render(value, number)?)));
    rendered.chain(story.secrets().variables(step).map(Ok)).collect()
}

/// What the sandbox says, with the step that it is about.
pub(super) fn of_step(trouble: Trouble, number: u32) -> Broken {
    match trouble {
        Trouble::User(failure) => Broken::User(Failure { step: failure.step.or(Some(number)), ..failure }),
        Trouble::Engine(error) => Broken::Ours(error.context("the container engine failed")),
        Trouble::Registry(failure) => Broken::Elsewhere(anyhow!("{}. {}", failure.message, failure.hint)),
    }
}

fn exit(step: u32, exit_code: i64) -> Failure {
    let hint = match exit_code {
        126 | 127 => "A command was not found or cannot be executed: does the image have it?",
        137 => "Something killed it, and not for want of memory: look at what the step does.",
        _ => "The end of its log says why: `patchwave job logs`.",
    };
    Failure {
        kind: FailureKind::StepExit,
        step: Some(step),
        exit_code: Some(exit_code),
        limit: None,
        message: format!("step {step} ended with exit code {exit_code}"),
        hint: hint.to_owned(),
    }
}
