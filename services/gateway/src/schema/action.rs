//! Actions as they are shown.

use std::collections::HashMap;

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use chrono::{SecondsFormat, Utc};
use events::blob::{BlobKind, BlobRef};
use events::rejection::Code;
use schedule::Schedule;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::connection::{Connection, Total};
use super::execution::Execution;
use super::scalar::{DateTime, Sequence, blob, int};
use super::{page, page_cost};
use crate::fault::Fault;
use crate::files::{Counted, Files};
use crate::projection::{
    Batches, Bound, Cursor, Identified, List, Listed, Load, Order, Projection, Statement,
};

/// What to change, and how.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Action {
    /// Derived from the name.
    pub(super) id: ID,
    /// Unique, never changed.
    name: String,
    /// What it is for, in Markdown.
    description: String,
    /// The newest revision.
    revision: i32,
    /// Whether it runs no more.
    archived: bool,
    /// When it is to run; archived: never. So far that is kept and shown, and starts nothing.
    schedule: Option<ActionSchedule>,
    /// The name of the saved search for whose news it is to run; archived: none. So far that is kept and shown, and starts
    /// nothing.
    saved_search: Option<String>,
    /// The name of the campaign to which its plans are to go. So far that is kept and shown, and applies nothing.
    campaign: Option<String>,
    created_at: DateTime,
    updated_at: DateTime,
    #[graphql(skip)]
    updated_sequence: i64,
    /// How many executions there were of it.
    #[graphql(skip)]
    pub(super) executed: i64,
}

impl FromRow<'_, AnyRow> for Action {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: ID(row.try_get("id")?),
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            revision: int(row.try_get("revision")?),
            archived: row.try_get::<i64, _>("archived")? != 0,
            schedule: ActionSchedule::of(row)?,
            saved_search: row.try_get("saved_search")?,
            campaign: row.try_get("campaign")?,
            created_at: DateTime(row.try_get("created_at")?),
            updated_at: DateTime(row.try_get("updated_at")?),
            updated_sequence: row.try_get("updated_sequence")?,
            executed: row.try_get("executions")?,
        })
    }
}

/// When an action is to run.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct ActionSchedule {
    /// A cron expression: minute, hour, day, month and weekday; or a nickname such as `@daily`.
    cron: String,
    /// The IANA name of the time zone on whose clock it is read.
    time_zone: String,
    /// When it was set as it is.
    set_at: DateTime,
    /// Who did.
    set_by: String,
}

impl ActionSchedule {
    fn of(row: &AnyRow) -> sqlx::Result<Option<Self>> {
        let Some(cron) = row.try_get::<Option<String>, _>("schedule_cron")? else { return Ok(None) };
        Ok(Some(Self {
            cron,
            time_zone: row.try_get("schedule_time_zone")?,
            set_at: DateTime(row.try_get("schedule_set_at")?),
            set_by: row.try_get("schedule_set_by")?,
        }))
    }
}

#[ComplexObject]
impl ActionSchedule {
    /// The times at which it comes next, in order; 20 at most.
    #[graphql(complexity = "times_cost(first)")]
    async fn next_times(&self, #[graphql(default = 1)] first: i32) -> Result<Vec<DateTime>> {
        let times = usize::try_from(first).ok().filter(|times| (1..=MAX_TIMES).contains(times));
        let times = times.ok_or_else(|| {
            let hint = format!("Ask for 1 to {MAX_TIMES} times.");
            Fault::invalid(format!("`first` is {first}"), hint)
        })?;
        let schedule = Schedule::parse(&self.cron, &self.time_zone).map_err(Fault::ours)?;
        let shown = |time: events::Timestamp| DateTime(time.to_rfc3339_opts(SecondsFormat::Secs, true));
        Ok(schedule.after(Utc::now()).take(times).map(shown).collect())
    }
}

/// The most times of a schedule in one answer.
const MAX_TIMES: usize = 20;

/// The rarest of schedules takes as long as reading a hundred fields, and ten more for each time.
fn times_cost(first: i32) -> usize {
    usize::try_from(first).unwrap_or_default().saturating_mul(10).saturating_add(100)
}

impl Listed for Action {
    const VIEW: &'static str = "actions";
    const ORDER: Order = Order { columns: &["updated_sequence"], descending: true };

    fn key(&self, order: Order) -> Cursor {
        Cursor(vec![if order == BY_NAME {
            Bound::Text(self.name.clone())
        } else {
            Bound::Int(self.updated_sequence)
        }])
    }
}

/// The order of a table of contents.
pub(super) const BY_NAME: Order = Order { columns: &["name"], descending: false };

impl Identified for Action {
    const VIEW: &'static str = "actions";

    fn id(&self) -> &str {
        &self.id
    }
}

#[ComplexObject]
impl Action {
    /// A revision as its user wrote it; the newest one unless another is asked for.
    #[graphql(complexity = "DEFINITION_COST + child_complexity")]
    async fn definition(&self, ctx: &Context<'_>, revision: Option<i32>) -> Result<Definition> {
        let revision = revision.unwrap_or(self.revision);
        let found =
            ctx.data::<Batches<Definitions>>()?.load(RevisionKey(self.id.0.clone(), revision)).await?;
        Ok(found.ok_or_else(|| no_revision(&self.id.0, revision))?)
    }

    /// Its executions, newest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn executions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Execution>> {
        let list = List::of::<Execution>().with("action_id", self.id.as_str());
        page(ctx, (list, Total::Known(self.executed)), first, after).await
    }
}

/// The rejection of a revision that is not there.
pub(crate) fn no_revision(action: &str, revision: i32) -> Fault {
    let hint = "Revisions are numbered from 1; `patchwave action show` says which is the newest.";
    Fault::new(Code::NotFound, format!("{action} has no revision {revision}"), hint)
}

/// An archive may have to be fetched and read to its end.
const CONTENTS_COST: usize = 5_000;

/// A definition may have 512 KiB: as much as hundreds of other fields.
const DEFINITION_COST: usize = 200;

/// An action's definition.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Definition {
    /// The name of the file.
    file_name: String,
    /// Its text.
    source: String,
    /// What was given beside it.
    given: Given,
    /// The files that its steps mount, as they were sent with it; absent where none mounts any.
    files: Option<RevisionFiles>,
}

/// The files of a revision, in one archive. `GET /actions/{id}/revisions/{revision}/files` lists them.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct RevisionFiles {
    /// The archive's digest, as 64 hexadecimal digits.
    sha256: String,
    /// The archive's length in bytes.
    size: Sequence,
    #[graphql(skip)]
    blob: BlobRef,
}

/// How much an archive holds.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct FilesContents {
    /// How many files and links.
    files: Sequence,
    /// How many bytes the files have.
    bytes: Sequence,
}

#[ComplexObject]
impl RevisionFiles {
    /// How much is in it.
    #[graphql(complexity = "CONTENTS_COST + child_complexity")]
    async fn contents(&self, ctx: &Context<'_>) -> Result<FilesContents> {
        let Counted { files, bytes } = ctx.data::<Files>()?.count(&self.blob).await?;
        Ok(FilesContents { files: Sequence(files), bytes: Sequence(bytes) })
    }
}

impl From<BlobRef> for RevisionFiles {
    fn from(blob: BlobRef) -> Self {
        Self { sha256: blob.sha256.to_string(), size: Sequence(blob.size), blob }
    }
}

/// What was given beside the definition's file; only legacy action files need it.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Given {
    name: Option<String>,
    branch: Option<String>,
    title: Option<String>,
    body: Option<String>,
    message: Option<String>,
}

/// A definition and whose it is.
struct Revision(RevisionKey, Definition);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RevisionKey(String, i32);

impl FromRow<'_, AnyRow> for Revision {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let given: String = row.try_get("given")?;
        let given: events::action::Given =
            serde_json::from_str(&given).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let events::action::Given { name, branch, title, body, message } = given;
        let key = RevisionKey(row.try_get("action_id")?, int(row.try_get("revision")?));
        let definition = Definition {
            file_name: row.try_get("file_name")?,
            source: row.try_get("source")?,
            given: Given { name, branch, title, body, message },
            files: files(row)?.map(RevisionFiles::from),
        };
        Ok(Self(key, definition))
    }
}

/// The archive of a revision's row.
pub(crate) fn files(row: &AnyRow) -> sqlx::Result<Option<BlobRef>> {
    blob(row, BlobKind::Files, ["files_sha256", "files_size"])
}

/// Loads the definitions of many actions at once.
pub(crate) struct Definitions(pub(crate) Projection);

impl Load for Definitions {
    type Key = RevisionKey;
    type Value = Definition;

    const AT_ONCE: usize = 100;

    async fn load(&self, keys: &[RevisionKey]) -> Result<HashMap<RevisionKey, Definition>, Fault> {
        let statement = Statement::new("SELECT * FROM action_revisions WHERE 1 = 0");
        let statement = keys.iter().fold(statement, |statement, RevisionKey(action, revision)| {
            let statement = statement.sql(" OR (action_id = ").text(action).sql(" AND revision = ");
            statement.bind(Bound::Int((*revision).into())).sql(")")
        });
        let rows = self.0.select::<Revision>(statement).await?;
        Ok(rows.into_iter().map(|Revision(key, definition)| (key, definition)).collect())
    }
}
