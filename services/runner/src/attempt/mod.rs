//! One attempt: from its ticket to its final report.
//!
//! Owns the order of an attempt's end: nothing runs any more, the log is stored, the patch is stored, then the end is
//! reported, and only then the attempt is forgotten. Whatever an attempt's end is, it is told once, or not at all when
//! nobody wants to hear it.

mod hands;
mod images;
mod ready;
mod results;
mod resume;
mod runs;
mod story;
mod work;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use broker::BlobError;
use events::blob::{BlobKind, BlobRef};
use events::job::{self, DiffStat, Failure, LimitName, LossCause, Outputs};
use events::log::LogEnd;
use events::report::What;
use events::step_cache::StepResult;
use futures::FutureExt as _;
use spec::{Definition, OnLogLimit};

use crate::attempts::{Halt, Halted};
use crate::journal::{Leftover, attempt_of};
use crate::limits::{Limits, LogLimits, Machine, at, reached};
use crate::log::Log;
use crate::mask::Masker;
use crate::outbox::Outbox;
use crate::patch::Patch;
use crate::sandbox::Engine;
use crate::secrets::Secrets;
use crate::service::Shared;
use crate::slots::Slot;
use crate::usage::Watch;
use crate::workspace;
use hands::Hands;
use ready::Setup;
use results::Results;
use work::{Broken, Work};

/// How long a step has after SIGTERM at most when its runner stops: whoever stops a runner does not wait for ever.
const HURRY: Duration = Duration::from_secs(5);

/// How long the work on an attempt may take to notice that its container is gone.
const NOTICE: Duration = Duration::from_secs(5);

/// The folder of an attempt's workspace inside the attempt's own.
pub(crate) fn workspace_of(folder: &Path) -> PathBuf {
    folder.join("workspace")
}

/// How an attempt ended.
enum End {
    Succeeded(Patch, Outputs),
    Failed(Failure),
    TimedOut {
        limit_ms: u64,
        /// Absent: the whole attempt's limit.
        step: Option<u32>,
    },
    Canceled,
    Abandoned(LossCause, String),
    /// The same, and this runner is well.
    Elsewhere(String),
    /// It was taken away.
    Silent,
}

impl End {
    fn halted(halt: Halt) -> Self {
        match halt {
            Halt::Abandon => Self::Silent,
            Halt::Cancel => Self::Canceled,
            Halt::Drain => {
                let reason = "the runner was stopped before the job had ended";
                Self::Abandoned(LossCause::Drained, reason.to_owned())
            }
        }
    }

    /// The same end, in words that hold no secret: the engine and git may repeat what they were given.
    fn masked(self, masker: &Masker) -> Self {
        match self {
            Self::Failed(failure) => Self::Failed(Failure {
                message: masker.text(&failure.message),
                hint: masker.text(&failure.hint),
                ..failure
            }),
            Self::Abandoned(cause, reason) => Self::Abandoned(cause, masker.text(&reason)),
            Self::Elsewhere(reason) => Self::Elsewhere(masker.text(&reason)),
            other => other,
        }
    }
}

/// Runs an attempt to its end, and tells it.
pub(crate) async fn run(shared: Arc<Shared>, begun: Leftover, mut slot: Slot, mut halted: Halted) {
    let live = AssertUnwindSafe(live(&shared, &begun, &mut slot, &mut halted)).catch_unwind().await;
    match live {
        Ok(Ok(())) => forget(&shared, &begun).await,
        Ok(Err(error)) => {
            let reason = format!("{error:#}");
            tracing::error!(job.id = %begun.ticket.job, error = reason, "an attempt cannot be told about");
            shared.health.broke(&reason);
            forget(&shared, &begun).await;
        }
        Err(_) => {
            tracing::error!(job.id = %begun.ticket.job, "an attempt ended by a fault of the runner");
            shared.health.sweep(&shared.attempts, &attempt_of(&begun.ticket)).await;
            tell_leftover(&shared, &begun, "a fault of the runner ended it", &mut halted).await;
        }
    }
}

/// Concludes an attempt that an earlier process left: sends what was not sent, and gives it up if it had not ended.
pub(crate) async fn conclude(shared: Arc<Shared>, leftover: Leftover, mut halted: Halted) {
    tell_leftover(&shared, &leftover, "the runner was restarted", &mut halted).await;
}

async fn tell_leftover(shared: &Shared, leftover: &Leftover, reason: &str, halted: &mut Halted) {
    let told = async {
        let mut outbox = outbox(shared, leftover)?;
        if !outbox.is_complete() {
            let log = log(shared, leftover, (LogLimits::OWN, &Masker::default()))?;
            log.tell(&format!("this attempt was abandoned: {reason}")).await;
            let (cause, reason) = (LossCause::Runner, reason.to_owned());
            outbox.push(What::Abandoned { cause, reason, log: log.close().await? });
        }
        outbox.close().await
    };
    let told: Result<()> = tokio::select! {
        told = told => told,
        () = halted.abandon() => Ok(()),
    };
    if let Err(error) = told {
        let error = format!("{error:#}");
        tracing::error!(job.id = %leftover.ticket.job, error, "an attempt cannot be told about");
    }
    forget(shared, leftover).await;
}

fn outbox(shared: &Shared, begun: &Leftover) -> Result<Outbox> {
    let id = (begun.ticket.execution, attempt_of(&begun.ticket));
    Outbox::open(&begun.folder, shared.broker.clone(), shared.runner.clone(), id)
}

fn log(shared: &Shared, begun: &Leftover, shown: (LogLimits, &Masker)) -> Result<Log> {
    let id = (shared.runner.clone(), attempt_of(&begun.ticket));
    Log::open(&begun.folder, shared.broker.clone(), id, shown)
}

/// Gives back all that an attempt took.
async fn forget(shared: &Shared, begun: &Leftover) {
    let id = attempt_of(&begun.ticket);
    clean(shared, &begun.folder);
    if let Err(error) = shared.journal.end(&id) {
        let error = format!("{error:#}");
        tracing::warn!(job.id = %id.job, error, "files of an ended attempt stay until the next start");
    }
    shared.attempts.release(&id);
}

fn clean(shared: &Shared, folder: &Path) {
    if let Err(error) = workspace::discard(&workspace_of(folder), &shared.trash) {
        tracing::warn!(error = format!("{error:#}"), "a workspace stays until the next start");
    }
}

async fn live(shared: &Shared, begun: &Leftover, slot: &mut Slot, halted: &mut Halted) -> Result<()> {
    let secrets = match Secrets::open(&shared.sealing_key, &begun.ticket) {
        Ok(secrets) => secrets,
        Err(error) => {
            let error = format!("{error:#}");
            tracing::warn!(job.id = %begun.ticket.job, error, "the secrets of a ticket do not open");
            tell_leftover(shared, begun, "its secrets are sealed to an earlier start of the runner", halted)
                .await;
            return Ok(());
        }
    };
    let definition = ready::read(&begun.ticket, &shared.command_image);
    let (limits, lowered) = limits(shared, &definition);
    let registries = definition.as_ref().map_or(&[][..], |definition| &definition.settings.registries);
    let logins = secrets.logins(registries);
    let (mut outbox, log) = (outbox(shared, begun)?, log(shared, begun, (limits.log, secrets.masker()))?);
    outbox.push(What::Started);
    let (hands, results) = (Hands::default(), Results::default());
    for line in lowered {
        log.tell(&line).await;
    }
    let watch = Watch::new(workspace::written(&workspace_of(&begun.folder), shared.mode), limits);
    let setup = Setup {
        shared,
        begun,
        slot: slot.number(),
        log: &log,
        hands: &hands,
        definition: &definition,
        limits: &limits,
        watch: &watch,
        secrets: &secrets,
        logins: &logins,
        results: &results,
    };
    let end =
        work_to_the_end(Work { setup, outbox: &mut outbox, told: 0 }, halted).await.masked(secrets.masker());
    let is_orderly = matches!(end, End::Succeeded(..));
    match &end {
        End::Abandoned(_, reason) => {
            shared.health.broke(reason);
            tracing::warn!(job.id = %begun.ticket.job, attempt = begun.ticket.attempt, reason, "an attempt is abandoned");
        }
        _ => shared.health.went_well(),
    }
    let is_silent = matches!(end, End::Silent);
    // After another end something of it may run until its containers are gone.
    let slot = is_orderly.then_some(slot);
    let tell = tell(shared, (log, outbox, slot), (end, &results));
    let tell = async {
        tokio::select! {
            told = tell => told,
            () = halted.abandon(), if !is_silent => Ok(()),
        }
    };
    let clean = async {
        hands.let_go().await;
        clean(shared, &begun.folder);
    };
    let (told, ()) = tokio::join!(tell, clean);
    if !is_orderly {
        // A container whose creation was interrupted is known to the engine alone.
        shared.health.sweep(&shared.attempts, &attempt_of(&begun.ticket)).await;
    }
    told
}

/// Works until the job has ended or must.
async fn work_to_the_end(work: Work<'_>, halted: &mut Halted) -> End {
    let setup = work.setup;
    let limit_ms = setup.begun.ticket.timeout_ms;
    let limit = Duration::from_millis(limit_ms);
    let mut perform = std::pin::pin!(work.perform());
    let end = tokio::select! {
        biased;
        // One that was canceled before it got here does not begin.
        halt = halted.halt() => End::halted(halt),
        performed = &mut perform => return match performed {
            Ok((patch, outputs)) => End::Succeeded(patch, outputs),
            Err(Broken::User(failure)) => End::Failed(failure),
            Err(Broken::TimedOut { step, limit_ms }) => End::TimedOut { limit_ms, step: Some(step) },
            Err(Broken::Elsewhere(error)) => End::Elsewhere(format!("{error:#}")),
            Err(Broken::Ours(error)) => End::Abandoned(LossCause::Infrastructure, format!("{error:#}")),
        },
        () = tokio::time::sleep(limit) => End::TimedOut { limit_ms, step: None },
        failure = limit_reached(setup) => End::Failed(at(setup.hands.step(), failure)),
        reason = setup.log.failed() => End::Abandoned(LossCause::Infrastructure, reason),
    };
    let grace = match end {
        End::Abandoned(LossCause::Drained, _) => setup.shared.grace.min(HURRY),
        _ => setup.shared.grace,
    };
    stop(setup.hands, grace, perform.as_mut()).await;
    end
}

/// Ends the step that runs, with all that it started.
async fn stop(hands: &Hands, grace: Duration, running: impl Future) {
    if let Some(kill) = hands.stop(grace) {
        // What the step says while it dies still belongs to its log.
        let dying = async { tokio::join!(kill, running) };
        if tokio::time::timeout(grace + NOTICE, dying).await.is_err() {
            tracing::warn!("a step did not end after it was killed");
        }
    }
}

/// What a definition may use here, and in words what it asks for and does not get.
fn limits(shared: &Shared, definition: &Result<Definition, Failure>) -> (Limits, Vec<String>) {
    let nothing = spec::Limits::default();
    let wanted = definition.as_ref().map_or(&nothing, |definition| &definition.settings.limits);
    let machine = shared.health.watch().borrow().engine.as_ref().map_or(Machine::UNKNOWN, Engine::machine);
    shared.site.limits(wanted, machine)
}

/// Waits until the attempt uses up something that the kernel does not bound.
async fn limit_reached(setup: Setup<'_>) -> Failure {
    let log = setup.limits.log;
    let log_is_full = async {
        match log.when_full {
            OnLogLimit::Fail => setup.log.full().await,
            OnLogLimit::Continue => std::future::pending().await,
        }
    };
    tokio::select! {
        failure = setup.watch.reached(|| setup.hands.containers()) => failure,
        () = log_is_full => reached(LimitName::LogBytes, log.bytes),
    }
}

/// Stores what belongs to the end, and then reports it.
async fn tell(
    shared: &Shared,
    (log, mut outbox, slot): (Log, Outbox, Option<&mut Slot>),
    (end, results): (End, &Results),
) -> Result<()> {
    match &end {
        End::Succeeded(patch, _) => tell_left_out(&log, patch).await,
        End::Failed(failure) => log.tell(&failure.message).await,
        End::TimedOut { limit_ms, step } => {
            let what = job::timed_out(*limit_ms, *step);
            log.tell(&format!("{what}: everything was stopped")).await;
        }
        End::Canceled => log.tell("this job was canceled: everything was stopped").await,
        End::Abandoned(_, reason) | End::Elsewhere(reason) => {
            log.tell(&format!("this attempt was abandoned: {reason}")).await
        }
        End::Silent => {
            // What the steps wrote until then is still true, and worth a moment.
            let _ = tokio::time::timeout(NOTICE, log.close()).await;
            return Ok(());
        }
    }
    let patch = async {
        match &end {
            End::Succeeded(patch, _) if !patch.bytes.is_empty() => {
                store(shared, &patch.bytes).await.map(Some)
            }
            _ => Ok(None),
        }
    };
    let results = async {
        match &end {
            End::Succeeded(..) | End::Failed(_) | End::TimedOut { .. } => results.stored().await,
            _ => Vec::new(),
        }
    };
    let (log, patch, results) = tokio::join!(log.close(), patch, results);
    outbox.push(last_word(end, log?, (patch?, results)));
    if let Some(slot) = slot {
        slot.give_back();
    }
    outbox.close().await
}

fn last_word(end: End, log: LogEnd, (patch, results): (Option<BlobRef>, Vec<StepResult>)) -> What {
    match end {
        End::Succeeded(Patch { stat, .. }, outputs) => {
            // A stat without a patch would count changes that nobody can apply.
            let diff_stat = if patch.is_some() { stat } else { DiffStat::default() };
            What::Succeeded { patch, diff_stat, outputs, results, log }
        }
        End::Failed(failure) => {
            let failure =
                Failure { message: bounded(failure.message), hint: bounded(failure.hint), ..failure };
            What::Failed { failure, results, log }
        }
        End::TimedOut { limit_ms, step } => What::TimedOut { limit_ms, step, results, log },
        End::Canceled => What::Canceled { log },
        End::Abandoned(cause, reason) => What::Abandoned { cause, reason: bounded(reason), log },
        End::Elsewhere(reason) => {
            What::Abandoned { cause: LossCause::Infrastructure, reason: bounded(reason), log }
        }
        End::Silent => {
            What::Abandoned { cause: LossCause::Runner, reason: "it was taken away".to_owned(), log }
        }
    }
}

/// How many characters of a message are reported: what it repeats may be as long as a user likes.
const MESSAGE_CHARS: usize = 4_000;

fn bounded(text: String) -> String {
    match text.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// How many paths the log names that cannot be part of a patch.
const NAMED: usize = 20;

async fn tell_left_out(log: &Log, patch: &Patch) {
    for left_out in patch.left_out.iter().take(NAMED) {
        // A path may hold anything; the log shows it without what a terminal would act on.
        let path = left_out.path.to_string_lossy().escape_debug().to_string();
        log.tell(&format!("left out of the patch: {path}: {}", left_out.why)).await;
    }
    if patch.left_out.len() > NAMED {
        log.tell(&format!("left out of the patch: {} more", patch.left_out.len() - NAMED)).await;
    }
}

/// Stores a patch, however long the broker is away.
async fn store(shared: &Shared, bytes: &[u8]) -> Result<BlobRef> {
    loop {
        match shared.broker.put_blob(BlobKind::Patch, bytes).await {
            Ok(blob) => return Ok(blob),
            Err(BlobError::Read(error)) => {
                tracing::debug!(%error, "a patch cannot be stored yet");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
