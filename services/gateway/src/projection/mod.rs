//! The projection: what everybody reads.
//!
//! Owns the connections to the database, which only read, and the wait for what was just written. Never knows what the
//! rows mean: that is `schema`'s.

mod batch;
mod nodes;
mod pages;
mod statement;

use std::time::Duration;

use anyhow::{Context as _, bail};
use broker::Broker;
use events::rejection::Code;
use prometheus_client::metrics::counter::Counter;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, AssertSqlSafe, FromRow};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use batch::{Batches, Load};
pub(crate) use nodes::{ById, Identified};
pub(crate) use pages::{
    Children, ChildrenOf, Cursor, List, Listed, MAX_PAGE, Order, Page, PageKey, PagesOf, every, places,
};
pub(crate) use statement::{Bound, Statement};

use crate::fault::Fault;

/// The statements, for a test that asks what they cost.
#[cfg(test)]
pub(crate) mod costs {
    pub(crate) use super::nodes::statement as by_id;
    pub(crate) use super::pages::{children, statement as page};
}

/// Which layout of the tables this build reads.
const LAYOUT: i64 = include!("../../../../migrations/layout");

/// What to do about another one.
const REBUILD: &str = "Run the projector of this build, and `patchwave projection rebuild`.";

/// How many requests read at once; more wait.
const CONNECTIONS: u32 = 8;

/// How long a request waits for the projection to reach a sequence.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one statement may take.
const STATEMENT: Duration = Duration::from_secs(20);

/// The database behind everything that is shown. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Projection {
    pool: AnyPool,
    reached: watch::Receiver<u64>,
    patience: Duration,
    statements: Counter,
}

impl Projection {
    /// Connects, waiting for the projector to make the tables. Nothing: it was told to stop before.
    pub(crate) async fn open(
        url: &str,
        broker: &Broker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        sqlx::any::install_default_drivers();
        let options = AnyPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
        let pool = options.connect_lazy(&read_only(url)).context("the database URL cannot be read")?;
        let projection = Self {
            pool,
            reached: broker.follow_projector(),
            patience: PATIENCE,
            statements: Counter::default(),
        };
        let mut told = false;
        loop {
            let why = match projection.layout().await {
                Ok(Some(LAYOUT)) => return Ok(Some(projection)),
                Ok(Some(layout)) => bail!("{}. {REBUILD}", foreign(layout)),
                Ok(None) => "no generation is live".to_owned(),
                Err(error) => error.to_string(),
            };
            if !told {
                tracing::warn!(why, "the projection is not there yet: waiting for the projector to make it");
                told = true;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    /// The live generation's layout; its views came together with it.
    async fn layout(&self) -> sqlx::Result<Option<i64>> {
        sqlx::query_scalar("SELECT layout FROM generations WHERE active = 1").fetch_optional(&self.pool).await
    }

    /// Whether the tables can be read, and are this build's.
    pub(crate) async fn is_there(&self) -> bool {
        matches!(self.layout().await, Ok(Some(LAYOUT)))
    }

    /// The sequence of the last event that it has taken in, as far as it has said so.
    pub(crate) fn reached(&self) -> u64 {
        *self.reached.borrow()
    }

    /// Waits until the projection has taken in the event at a sequence.
    pub(crate) async fn reach(&self, sequence: u64) -> Result<(), Fault> {
        let mut reached = self.reached.clone();
        let wait = reached.wait_for(|reached| *reached >= sequence);
        match tokio::time::timeout(self.patience, wait).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Fault::ours(error)),
            Err(_) => {
                let seconds = self.patience.as_secs();
                let message =
                    format!("the projection has not reached sequence {sequence} within {seconds} s");
                Err(stale(message).detail("sequence", sequence))
            }
        }
    }

    /// Waits, however long it takes, until the projection has taken in the event at a sequence. False: it is not known any
    /// more how far it is.
    pub(crate) async fn shows(&self, sequence: u64) -> bool {
        let mut reached = self.reached.clone();
        reached.wait_for(|reached| *reached >= sequence).await.is_ok()
    }

    /// Ends when the broker no longer has the stream in which the projector says how far it is.
    pub(crate) async fn beats_are_gone(&self) {
        let mut reached = self.reached.clone();
        while reached.changed().await.is_ok() {}
    }

    /// Counts the statements.
    pub(crate) fn statements(&self) -> Counter {
        self.statements.clone()
    }

    /// Reads rows.
    pub(crate) async fn select<T>(&self, statement: Statement) -> Result<Vec<T>, Fault>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        self.statements.inc();
        let (sql, values) = statement.into_parts();
        let mut query = sqlx::query_as(AssertSqlSafe(sql));
        for value in values {
            query = match value {
                Bound::Int(value) => query.bind(value),
                Bound::Text(value) => query.bind(value),
            };
        }
        match tokio::time::timeout(STATEMENT, query.fetch_all(&self.pool)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(self.explain(error).await),
            Err(_) => {
                let message = format!("the projection took longer than {} s", STATEMENT.as_secs());
                Err(Fault::new(Code::Busy, message, "Ask for less at once, or later."))
            }
        }
    }

    /// Why rows cannot be read: the projection may have been rebuilt by another build meanwhile.
    async fn explain(&self, error: sqlx::Error) -> Fault {
        match self.layout().await {
            Ok(Some(layout)) if layout != LAYOUT => {
                Fault::new(Code::StaleProjection, foreign(layout), REBUILD)
            }
            _ => Fault::ours(anyhow::Error::new(error).context("the projection cannot be read")),
        }
    }
}

/// That the tables are another build's.
fn foreign(layout: i64) -> String {
    format!("the projection has layout {layout}, this build reads layout {LAYOUT}")
}

/// The rejection of whoever cannot wait any longer.
pub(crate) fn stale(message: impl Into<String>) -> Fault {
    let hint =
        "`patchwave projection status` says how far behind it is; does the projector run? Then ask again.";
    Fault::new(Code::StaleProjection, message, hint)
}

/// The URL with which a SQLite file is opened for reading alone; whatever mode it names is ours to say.
fn read_only(url: &str) -> String {
    if !url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let (file, options) = url.split_once('?').unwrap_or((url, ""));
    let kept = options.split('&').filter(|option| !option.is_empty() && !option.starts_with("mode="));
    let options: Vec<&str> = kept.chain(["mode=ro"]).collect();
    format!("{file}?{}", options.join("&"))
}

#[cfg(test)]
mod tests {
    use super::read_only;

    #[test]
    fn a_file_is_opened_for_reading_alone() {
        assert_eq!(read_only("sqlite:///a/b"), "sqlite:///a/b?mode=ro");
        assert_eq!(read_only("sqlite:///a/b?mode=rwc&cache=private"), "sqlite:///a/b?cache=private&mode=ro");
        assert_eq!(read_only("postgres://h/d"), "postgres://h/d");
    }
}
