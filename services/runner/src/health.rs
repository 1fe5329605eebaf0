//! Health: whether this runner can take a job now, and in words why not.
//!
//! Owns the connection to the engine and the watch over it and the runner's folder. Whoever meets trouble says so, and no
//! ticket is taken until a check was good again: a runner that cannot work must not burn the fleet's jobs one after the
//! other. Invariant: containers that nobody in hand owns are removed before the first ticket is taken.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use events::beat::Running;
use events::id::RunnerId;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::attempts::Attempts;
use crate::reserve::{self, Reserve, Short};
use crate::sandbox::{Engine, EngineOptions};

/// How often a runner in good health looks.
const CALM: Duration = Duration::from_secs(5);

/// How often one in trouble looks.
const WORRIED: Duration = Duration::from_secs(1);

/// How long the engine may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// How long a runner takes no tickets after jobs broke on it one after the other, although all looks well.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How the runner is.
#[derive(Clone, Default)]
pub(crate) struct State {
    /// The engine; absent until it was reached.
    pub(crate) engine: Option<Engine>,
    /// Why no job can run; absent when all is well.
    pub(crate) trouble: Option<String>,
    /// What is too short for one more job; what runs goes on.
    pub(crate) short: Option<String>,
}

impl State {
    /// Why no tickets are taken; absent when all is well.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.trouble.as_deref().or(self.short.as_deref())
    }
}

/// The watch over the runner's health.
pub(crate) struct Health {
    state: watch::Sender<State>,
    /// How many attempts broke in a row, and when the last did.
    breaks: watch::Sender<(u32, Option<Instant>)>,
    look: Notify,
    short: Mutex<Short>,
}

/// What is watched.
pub(crate) struct Patient {
    pub(crate) runner: RunnerId,
    pub(crate) engine: EngineOptions,
    pub(crate) folder: PathBuf,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) reserve: Reserve,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            state: watch::Sender::default(),
            breaks: watch::Sender::new((0, None)),
            look: Notify::new(),
            short: Mutex::default(),
        }
    }

    /// How the runner is, as a value to watch.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Notes that an attempt broke through no fault of its own.
    pub(crate) fn broke(&self, reason: &str) {
        self.breaks.send_modify(|breaks| *breaks = (breaks.0.saturating_add(1), Some(Instant::now())));
        self.state.send_modify(|state| state.trouble = Some(format!("an attempt broke: {reason}")));
        self.look.notify_one();
    }

    /// Notes that an attempt came to an end of its own.
    pub(crate) fn went_well(&self) {
        self.breaks.send_if_modified(|breaks| std::mem::take(breaks).0 > 0);
    }

    /// Removes the containers that belong to no attempt in hand but the one that has just ended.
    pub(crate) async fn sweep(&self, attempts: &Attempts, ended: &Running) {
        let engine = self.state.borrow().engine.clone();
        let keep = |attempt: &Running| attempt != ended && attempts.is_live(attempt);
        if let Some(engine) = engine
            && let Err(error) = engine.remove_leftovers(keep).await
        {
            tracing::warn!(
                error = format!("{error:#}"),
                "containers that ended attempts left cannot be removed"
            );
        }
    }

    /// Removes all containers and networks at the runner's end.
    pub(crate) async fn close(&self) {
        let engine = self.state.borrow().engine.clone();
        if let Some(engine) = engine
            && let Err(error) = engine.close().await
        {
            tracing::warn!(error = format!("{error:#}"), "containers stay until the next start");
        }
    }

    /// Looks once, so that what is published is true.
    pub(crate) async fn look(&self, patient: &Patient) {
        let was_well = {
            let state = self.state.borrow();
            state.engine.is_some() && state.trouble.is_none()
        };
        let engine = self.state.borrow().engine.clone();
        let (engine, trouble) = match examine(engine, patient, was_well).await {
            Ok(engine) => (Some(engine), self.pause()),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let short = self.shortage(patient);
        self.state.send_if_modified(|state| {
            // What is free changes with every look, which is no news.
            let short_news = state.short.is_none() != short.is_none();
            let news = state.trouble != trouble || state.engine.is_none() != engine.is_none() || short_news;
            match &short {
                Some(short) if short_news => tracing::warn!(short, "no more jobs are taken"),
                None if short_news => tracing::info!("there is room for jobs again"),
                _ => {}
            }
            state.short = short;
            match (&trouble, was_well) {
                // Said once, also at the first look; the words may change while it lasts.
                (Some(trouble), _) if was_well || state.trouble.is_none() => {
                    tracing::warn!(trouble, "no jobs are taken");
                }
                (None, false) => tracing::info!("ready for jobs"),
                _ => {}
            }
            if engine.is_some() {
                state.engine = engine;
            }
            state.trouble = trouble;
            news
        });
    }

    /// What is too short for one more job.
    fn shortage(&self, patient: &Patient) -> Option<String> {
        let free = match reserve::free(&patient.folder) {
            Ok(free) => free,
            Err(error) => return Some(format!("{error:#}")),
        };
        let mut short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        short.look(&patient.reserve, &free, &patient.folder)
    }

    /// Looks again and again.
    pub(crate) async fn watch_over(&self, patient: &Patient) {
        loop {
            let calm = self.state.borrow().reason().is_none();
            tokio::select! {
                () = tokio::time::sleep(if calm { CALM } else { WORRIED }) => {}
                () = self.look.notified() => {}
            }
            self.look(patient).await;
        }
    }

    /// Whether jobs that broke are a reason to wait although all looks well: longer each time.
    fn pause(&self) -> Option<String> {
        let (count, last) = *self.breaks.borrow();
        let pause = WORRIED.saturating_mul(1 << count.min(6)).min(LONGEST_PAUSE);
        let waits = count > 0 && last.is_some_and(|last| last.elapsed() < pause);
        waits.then(|| format!("{count} attempts broke in a row: waiting {} s", pause.as_secs()))
    }
}

async fn examine(engine: Option<Engine>, patient: &Patient, was_well: bool) -> Result<Engine> {
    let folder = patient.folder.clone();
    tokio::task::spawn_blocking(move || examine_folder(&folder))
        .await
        .context("the look at the folder failed")??;
    let answer = async {
        match engine {
            Some(engine) => engine.ping().await.map(|()| engine),
            None => Engine::connect(&patient.engine, &patient.runner, &patient.folder).await,
        }
    };
    let engine = tokio::time::timeout(ANSWER, answer)
        .await
        .context("the container engine does not answer: is it overloaded? `docker info` tells")??;
    if !was_well {
        let removed = engine.remove_leftovers(|attempt| patient.attempts.is_live(attempt)).await?;
        if removed > 0 {
            tracing::info!(removed, "removed containers that ended attempts had left");
        }
    }
    engine.open_networks().await?;
    Ok(engine)
}

/// Whether the runner's folder can be written.
pub(crate) fn examine_folder(folder: &Path) -> Result<()> {
    let probe = folder.join("probe.file");
    let written = std::fs::write(&probe, [0; 4096]);
    let written = written.and_then(|()| std::fs::remove_file(&probe));
    written.with_context(|| {
        format!(
            "the runner's folder {} cannot be written: free some space or correct its rights",
            folder.display()
        )
    })
}
