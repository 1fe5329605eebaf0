//! Metrics: what the gateway does, in numbers, as Prometheus reads them.
//!
//! Owns their names and labels; `docs/metrics.md` has them all, and a test compares. A label's values are few and known
//! before: never an id, a name or an address.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use prometheus_text::CONTENT_TYPE;

/// What stands before every name.
const PREFIX: &str = "patchwave_gateway";

/// Seconds up to which requests are counted: from a look at the projection to the longest that one may take.
const DURATIONS: [f64; 12] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 80.0];

type Labels<const N: usize> = [(&'static str, String); N];

/// Why somebody was not signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSignedIn {
    /// The name or the password is another one.
    Credentials,
    /// There were too many attempts before.
    Throttled,
}

impl NotSignedIn {
    const ALL: [Self; 2] = [Self::Credentials, Self::Throttled];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Throttled => "throttled",
        }
    }
}

/// What is looked up when it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Levels {
    /// How many streams are open.
    pub(crate) streams: usize,
    /// Whether the database answers.
    pub(crate) database: bool,
    /// The last event that the projection has taken in.
    pub(crate) reached: u64,
    /// How many events it is behind the log; nothing: the broker does not answer.
    pub(crate) lag: Option<u64>,
}

/// All of them.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels<3>, Counter>,
    durations: Family<Labels<2>, Histogram, fn() -> Histogram>,
    pub(crate) in_progress: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) rate_limited: Counter,
    operations: Family<Labels<2>, Counter>,
    sign_ins_refused: Family<Labels<1>, Counter>,
    streams: Gauge,
    broker_up: Gauge,
    database_up: Gauge,
    reached: Gauge<u64, AtomicU64>,
    lag: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// All at nothing, of a gateway that starts now; but for the statements, which are counted where they are made.
    pub(crate) fn new(statements: Counter) -> Self {
        let durations: fn() -> Histogram = || Histogram::new(DURATIONS);
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            in_progress: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            rate_limited: Counter::default(),
            operations: Family::default(),
            sign_ins_refused: Family::default(),
            streams: Gauge::default(),
            broker_up: Gauge::default(),
            database_up: Gauge::default(),
            reached: Gauge::default(),
            lag: Gauge::default(),
        };
        metrics.register();
        let help = "Statements with which the projection was read";
        metrics.registry.register("projection_statements", help, statements);
        for why in NotSignedIn::ALL {
            drop(metrics.sign_ins_refused.get_or_create(&[("reason", why.as_str().to_owned())]));
        }
        metrics
    }

    fn register(&mut self) {
        let (registry, seconds) = (&mut self.registry, || Unit::Seconds);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        #[expect(clippy::cast_precision_loss, reason = "a time in this age is exact")]
        start.set(chrono::Utc::now().timestamp_millis() as f64 / 1e3);
        registry.register_with_unit("start_time", "When the gateway started, since 1970", seconds(), start);
        registry.register("http_requests", "Requests that were answered", self.requests.clone());
        let help = "Time until the head of an answer was there";
        registry.register_with_unit("http_request_duration", help, seconds(), self.durations.clone());
        let help = "Requests that wait for the head of their answer";
        registry.register("http_requests_in_progress", help, self.in_progress.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        let help = "Connections that were closed at once, because their address has too many";
        registry.register("connections_refused", help, self.connections_refused.clone());
        let help = "Requests that were refused because their sender sends too many";
        registry.register("rate_limited_requests", help, self.rate_limited.clone());
        let help = "Operations of GraphQL by outcome: ok, or the code of the first error";
        registry.register("graphql_operations", help, self.operations.clone());
        let help = "Attempts to sign in that failed, or came too soon after others";
        registry.register("sign_ins_refused", help, self.sign_ins_refused.clone());
        let help = "Open streams: logs, events and downloads";
        registry.register("streams", help, self.streams.clone());
        registry.register("broker_up", "Whether the broker answers", self.broker_up.clone());
        registry.register("database_up", "Whether the database answers", self.database_up.clone());
        let help = "Sequence of the last event that the projection has taken in";
        registry.register("projection_sequence", help, self.reached.clone());
        let help =
            "Events in the log that the projection has not taken in; NaN while the broker does not answer";
        registry.register("projection_lag_events", help, self.lag.clone());
    }

    /// Counts a request that was answered.
    pub(crate) fn answered(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let (route, method) = (("route", route.to_owned()), ("method", method.to_owned()));
        self.durations.get_or_create(&[route.clone(), method.clone()]).observe(took.as_secs_f64());
        self.requests.get_or_create(&[route, method, ("status", status.to_string())]).inc();
    }

    /// Counts an operation of GraphQL.
    pub(crate) fn operated(&self, operation: &'static str, outcome: &str) {
        let labels = [("operation", operation.to_owned()), ("outcome", outcome.to_owned())];
        self.operations.get_or_create(&labels).inc();
    }

    /// Counts somebody who was not signed in.
    pub(crate) fn not_signed_in(&self, why: NotSignedIn) {
        self.sign_ins_refused.get_or_create(&[("reason", why.as_str().to_owned())]).inc();
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub(crate) fn text(&self, levels: Levels) -> Result<String, fmt::Error> {
        let Levels { streams, database, reached, lag } = levels;
        self.streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
        self.database_up.set(database.into());
        self.broker_up.set(lag.is_some().into());
        self.reached.set(reached);
        #[expect(clippy::cast_precision_loss, reason = "no log is so far ahead that it matters")]
        self.lag.set(lag.map_or(f64::NAN, |lag| lag as f64));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
