//! Promises of the projector, each kept on both engines.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]
#![allow(clippy::expect_used, reason = "a failed expectation is the test's failure")]

mod determinism;
mod history;
mod log;
#[path = "../../../../tests/world/postgres.rs"]
mod postgres;
mod service;

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::AnyPool;

use crate::schema;

/// A database of its own on one of the engines.
pub(crate) struct Database {
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub(crate) const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];
}

impl Database {
    pub(crate) fn new(engine: Engine) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        let url = match engine {
            Engine::Sqlite => format!("sqlite://{}/projection.sqlite", folder.path().display()),
            Engine::Postgres => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                postgres::Postgres::shared().database(&format!("test_{number}"))
            }
        };
        Self { url, _folder: folder }
    }

    pub(crate) async fn open(&self) -> AnyPool {
        schema::open(&self.url).await.unwrap()
    }
}
