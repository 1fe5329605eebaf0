//! The work of an attempt: the runs of steps, and the patch.
//!
//! Owns what happens while the attempt has its slot, and whose fault it is when it does not work out. It may be cut off at any
//! await: whoever does that lets go of the containers and the workspace. Invariant: the patch is computed only after
//! everything in the containers was ended.

use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use events::job::{Failure, FailureKind, LimitName, Outputs};
use events::log::Stream;
use events::report::What;
use events::step_cache::Reuse;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use spec::{Action, FileChanges, Step};
use tokio::time::Instant;

use super::ready::{Prepared, Ready, Setup, Way, changes_in};
use super::results::{self, Done};
use super::runs::{self, Course, number};
use super::story::{Capture, Story};
use crate::limits::{at, reached};
use crate::log::Log;
use crate::outbox::Outbox;
use crate::patch::{self, Patch};
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
    /// How many steps were told of: those that ended, and those that do not run.
    pub(super) told: usize,
}

impl Work<'_> {
    /// Runs the job's steps, and says what they changed and handed on.
    pub(super) async fn perform(mut self) -> Result<(Patch, Outputs), Broken> {
        let Ready { definition, mut story, done, mut course, first } = self.setup.ready(self.outbox).await?;
        let steps = &definition.steps;
        if done.is_some() {
            self.reuse().await;
        }
        let Some((workspace, mut run, mut prepared)) = first else {
            self.pass_over(steps.len()).await;
            let Done { patch: bytes, said } = done.unwrap_or_default();
            let patch = Patch { bytes, stat: said.diff_stat, left_out: Vec::new() };
            return Ok((patch, story.outputs()?));
        };
        loop {
            self.run((steps, &run), &prepared, (&mut story, &course, &workspace)).await?;
            let Some(next) = course.next(&story)? else { break };
            let ((), next_prepared) =
                tokio::join!(self.keep(&workspace, &story), self.setup.prepare(definition, &next, &story));
            prepared = next_prepared?;
            run = next;
        }
        let last = self.told;
        self.pass_over(steps.len()).await;
        // A step may have ended before anybody looked.
        if let Some(failure) = self.setup.watch.look_at_workspace().await? {
            return Err(at(self.setup.hands.step(), failure).into());
        }
        let (base, masker) = (&self.setup.begun.ticket.workspace.base_oid, self.setup.secrets.masker());
        let patch = patch::compute(&workspace, base, PATCH_BYTES, masker).await?;
        self.keep_as(last, &patch, &story);
        Ok((patch, story.outputs()?))
    }

    /// Says of the steps that need not run where they did.
    async fn reuse(&mut self) {
        let Some(Reuse { step, execution, job, .. }) = self.setup.begun.ticket.reuse.clone() else { return };
        let steps = if step == 1 { "step 1 is".to_owned() } else { format!("steps 1 to {step} are") };
        self.setup.log.tell(&format!("{steps} not run again: {job} of {execution} ran the same")).await;
        self.outbox.push(What::Reused { step, execution, job });
        self.told = step as usize;
    }

    /// Keeps what the steps so far came to, if that can be said. What cannot be part of a patch may be gone by the end.
    async fn keep(&self, workspace: &Workspace, story: &Story) {
        if !self.can_keep(self.told, story) {
            return;
        }
        let (base, masker) = (&self.setup.begun.ticket.workspace.base_oid, self.setup.secrets.masker());
        match patch::compute(workspace, base, PATCH_BYTES, masker).await {
            Ok(patch) => self.keep_as(self.told, &patch, story),
            Err(error) => tracing::debug!(%error, "what the steps so far came to is not kept"),
        }
    }

    /// Whether what so many steps came to can be found again.
    fn can_keep(&self, steps: usize, story: &Story) -> bool {
        self.setup
            .definition
            .as_ref()
            .is_ok_and(|definition| steps <= definition.cacheable_steps(story.context()))
    }

    fn keep_as(&self, steps: usize, patch: &Patch, story: &Story) {
        if !self.can_keep(steps, story) || !results::has_room_for(&patch.bytes) {
            return;
        }
        let Ok(said) = story.said(patch.stat) else { return };
        let done = Done { patch: patch.bytes.clone(), said };
        self.setup.results.keep(&self.setup.shared.broker, steps as u32, done);
    }

    /// Says of the steps up to a position that nobody told of that they do not run.
    async fn pass_over(&mut self, position: usize) {
        for skipped in self.told..position {
            let step = number(skipped);
            self.setup.log.tell(&format!("step {step} is skipped: its `if` is not true")).await;
            self.outbox.push(What::StepSkipped { step });
            self.setup.results.pass_over(step);
        }
        self.told = position;
    }

    /// Runs steps in their container, and ends all that is left in it.
    async fn run(
        &mut self,
        (steps, run): (&[Step], &[usize]),
        prepared: &Prepared,
        (story, course, workspace): (&mut Story, &Course<'_>, &Workspace),
    ) -> Result<(), Broken> {
        let container = &prepared.container;
        let first = number(run[0]);
        let mut place = Place { container, way: prepared.way, scripts: None, kills: Some(0) };
        match prepared.way {
            Way::Exec => container.start().await.map_err(|trouble| of_step(trouble, first))?,
            Way::Scripts => {
                let scripts = container.start_scripts().await;
                place.scripts = Some(scripts.map_err(|trouble| of_step(trouble, first))?);
            }
            Way::Main => {}
        }
        for (index, position) in run.iter().enumerate() {
            self.pass_over(*position).await;
            let (step, number) = (&steps[*position], number(*position));
            let next = run.get(index + 1).map(|next| &steps[*next]);
            let will_mention = |name| match next {
                Some(next) => runs::mentions(next, name),
                None => course.will_mention(name, story),
            };
            let look = will_mention("_files") || hands_on(step, "_files");
            let capture = self.step((step, number), &mut place, story).await?;
            self.told = *position + 1;
            if next.is_none() {
                // What a step left running must not change files while they are compared.
                place.end().await.map_err(|trouble| of_step(trouble, number))?;
            } else {
                place.kills = container.memory_kills().await;
            }
            let changes = if look {
                changes_in(workspace, &self.setup.begun.ticket).await?
            } else {
                FileChanges::default()
            };
            story.step_ended((step, number), capture, changes)?;
            if next.is_some() && !container.has_traces().await {
                self.keep(workspace, story).await;
            }
        }
        Ok(())
    }

    /// Runs a step, and returns what it wrote.
    async fn step(
        &mut self,
        (step, number): (&Step, u32),
        place: &mut Place<'_>,
        story: &Story,
    ) -> Result<Capture, Broken> {
        let rendered = match &step.action {
            Action::Script(script) if place.way == Way::Exec => {
                Some((story.render(script, number)?, environment(step, number, story)?))
            }
            _ => None,
        };
        let mut output = StepOutput { log: self.setup.log, step: number, capture: Capture::default() };
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
        match self.limit_behind(exit_code, place).await {
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

    async fn limit_behind(&self, exit_code: i64, place: &mut Place<'_>) -> anyhow::Result<Option<Failure>> {
        let killed = place.killed().await;
        // The engine knows of memory that ran out once nothing runs any more.
        place.end().await.map_err(|trouble| match trouble {
            Trouble::Engine(error) => error,
            Trouble::User(failure) | Trouble::Registry(failure) => anyhow!(failure.message),
        })?;
        let ran_out = match killed {
            Some(killed) => killed,
            None => place.container.ran_out_of_memory(exit_code).await?,
        };
        if ran_out {
            return Ok(Some(reached(LimitName::Memory, self.setup.limits.memory_bytes)));
        }
        self.setup.watch.look(&self.setup.hands.containers()).await
    }
}

/// Whether what a step hands on speaks of something by this name.
fn hands_on(step: &Step, name: &str) -> bool {
    step.outputs.iter().any(|output| output.value.source().contains(name))
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
    capture: Capture,
}

impl Output for StepOutput<'_> {
    fn write(&mut self, stream: Stream, bytes: Bytes) -> BoxFuture<'_, ()> {
        self.capture.take(stream, &bytes);
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
