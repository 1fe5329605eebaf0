//! Runners as they are shown.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use events::beat::RunnerBeat;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::scalar::{DateTime, Named, int, states};
use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::projection::{Bound, Cursor, Identified, Listed, Order, Projection, Statement};

states! {
    /// How a runner stands: to jobs, once it was there; to the broker's door, before it ever was.
    RunnerState {
        /// A token was made for it, and no machine has redeemed it yet.
        Invited = "invited",
        /// A machine may connect as it, and never has.
        Enrolled = "enrolled",
        /// It is there and takes jobs.
        Registered = "registered",
        /// It ends what it has and takes no more.
        Draining = "draining",
        /// It was there and is not any more: it left, or fell silent.
        Gone = "gone",
        /// It never was there, and may not connect any more.
        Revoked = "revoked",
    }
}

states! {
    /// Whether a machine may connect as a runner.
    EnrollmentState {
        /// Once it has redeemed the token that was made.
        Invited = "invited",
        /// With the key that it enrolled with.
        Enrolled = "enrolled",
        /// None may, for ever.
        Revoked = "revoked",
    }
}

/// The runners that were ever there, and those that were only enrolled or invited: a view that is made of two, each of which
/// is read by its own key.
const KNOWN: &str = "(SELECT runners.id AS id, runners.state AS state, slots, pool, labels, version,
    runners.since AS since, reason, enrollments.state AS enrollment, enrollments.since AS enrollment_since, token_expires_at
    FROM runners LEFT JOIN enrollments ON enrollments.id = runners.id
    UNION ALL
    SELECT enrollments.id AS id, runners.state AS state, slots, pool, labels, version,
    runners.since AS since, reason, enrollments.state AS enrollment, enrollments.since AS enrollment_since, token_expires_at
    FROM enrollments LEFT JOIN runners ON runners.id = enrollments.id WHERE runners.id IS NULL) AS known_runners";

/// The one of this name.
pub(super) async fn named(projection: &Projection, id: String) -> Result<Option<Runner>, Fault> {
    let statement = Statement::new(&format!("SELECT * FROM {KNOWN} WHERE id = ")).text(id);
    Ok(projection.select(statement).await?.pop())
}

/// Who runs jobs, or may.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Runner {
    /// The name that its operator chose.
    id: ID,
    state: RunnerState,
    /// How many jobs it runs at once; this and the next three are what it says when it registers.
    slots: Option<i32>,
    /// The pool that it belongs to: it gets the jobs that ask for this one.
    pool: Option<String>,
    /// What its operator says of it, as a JSON object.
    labels: Option<String>,
    version: Option<String>,
    /// When it came to be in this state.
    since: DateTime,
    reason: Option<String>,
    /// Whether a machine may connect as it; absent where a user in nats.conf says so.
    enrollment: Option<Enrollment>,
}

/// Which machine may connect as a runner.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Enrollment {
    state: EnrollmentState,
    /// When it came to be in this state.
    since: DateTime,
    /// Until when the token that was made last can be redeemed; absent where none is out.
    token_expires_at: Option<DateTime>,
}

impl Identified for Runner {
    const VIEW: &'static str = KNOWN;

    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for Runner {
    const VIEW: &'static str = KNOWN;
    const ORDER: Order = Order { columns: &["id"], descending: false };

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Text(self.id.0.clone())])
    }
}

impl FromRow<'_, AnyRow> for Runner {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let text = |column| row.try_get::<Option<String>, _>(column);
        // Once it was there, that counts; before, all there is to say is how its enrollment stands.
        let (state, since) = match RunnerState::read(row, "state")? {
            Some(state) => (state, row.try_get("since")?),
            None => {
                let state: String = row.try_get("enrollment")?;
                (RunnerState::from_text(&state)?, row.try_get("enrollment_since")?)
            }
        };
        Ok(Self {
            id: ID(row.try_get("id")?),
            state,
            slots: row.try_get::<Option<i64>, _>("slots")?.map(int),
            pool: text("pool")?,
            labels: text("labels")?,
            version: text("version")?,
            since: DateTime(since),
            reason: text("reason")?,
            enrollment: Enrollment::of(row)?,
        })
    }
}

impl Enrollment {
    fn of(row: &AnyRow) -> sqlx::Result<Option<Self>> {
        let Some(state) = EnrollmentState::read(row, "enrollment")? else { return Ok(None) };
        let token_expires_at = row.try_get::<Option<String>, _>("token_expires_at")?.map(DateTime);
        Ok(Some(Self { state, since: DateTime(row.try_get("enrollment_since")?), token_expires_at }))
    }
}

/// What a runner says of itself right now.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct RunnerNow {
    /// How many jobs it would run at once now: fewer while memory or disk is short, none while it cannot run any.
    slots: i32,
    /// The attempts in its hands.
    running: Vec<RunningAttempt>,
    /// Why it takes fewer jobs than it could, or none.
    trouble: Option<String>,
}

/// An attempt in the hands of a runner.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct RunningAttempt {
    job_id: ID,
    attempt: i32,
}

#[ComplexObject]
impl Runner {
    /// What it says of itself; absent while it is silent.
    #[graphql(complexity = "10 * child_complexity")]
    async fn now(&self, ctx: &Context<'_>) -> Result<Option<RunnerNow>> {
        Ok(ctx.data::<Fleet>()?.beat(&self.id).map(RunnerNow::from))
    }
}

impl From<RunnerBeat> for RunnerNow {
    fn from(beat: RunnerBeat) -> Self {
        let mut running: Vec<RunningAttempt> = beat
            .running
            .iter()
            .map(|one| RunningAttempt { job_id: ID(one.job.to_string()), attempt: int(one.attempt.into()) })
            .collect();
        running.sort_by(|one, other| one.job_id.as_str().cmp(other.job_id.as_str()));
        Self { slots: int(beat.slots.into()), running, trouble: beat.trouble }
    }
}
