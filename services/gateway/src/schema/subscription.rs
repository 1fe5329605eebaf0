//! Subscriptions: what is told as it happens.
//!
//! Owns the way in: whether the caller may, whether there is room for one more. What flows is `stream`'s and `fleet`'s. There
//! is no queue between them and the connection: a reader who is slow reads on later from where it was, and nothing is
//! dropped for it.

use async_graphql::{Context, ID, Result, Subscription};
use broker::{Broker, Message};
use events::Timestamp;
use events::id::{ExecutionId, JobId};
use futures::stream::{self, BoxStream, Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::OwnedSemaphorePermit;

use super::event::Event;
use super::log::LogLines;
use super::malformed;
use super::runner::{self, Runner};
use super::scalar::{DateTime, Sequence};
use crate::access::Caller;
use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::projection::{List, Projection, every};
use crate::stream::events::{Begin, log, story};
use crate::stream::log::Request;
use crate::stream::selection::Selection;
use crate::stream::{Permits, find, lines};

/// Everything that can be followed.
pub(crate) struct Root;

/// What a subscription yields; the first error is its last word.
type Items<T> = BoxStream<'static, Result<T>>;

#[Subscription(name = "Subscription")]
impl Root {
    /// An execution's story as it happens: its own events, its jobs' and its plan's. Ends when the story does; `after` goes on
    /// behind the last event that a reader has.
    async fn execution_events(
        &self,
        ctx: &Context<'_>,
        execution_id: ID,
        after: Option<Sequence>,
    ) -> Result<Items<Event>> {
        let permit = begin(ctx)?;
        let execution: ExecutionId = execution_id.parse().map_err(malformed)?;
        let after = after.map_or(0, |Sequence(after)| after);
        let story = story(ctx.data::<Broker>()?, execution, after).await?;
        Ok(shown(story, permit))
    }

    /// A job's log from a line on, as it is written, until it is complete: the last batch says so. Without `attempt` it is the
    /// last one's. After a break `nextLine` of the last batch goes on as `fromLine`, without a gap and without a line twice,
    /// whether the log was sealed meanwhile or not.
    async fn job_log(
        &self,
        ctx: &Context<'_>,
        job_id: ID,
        attempt: Option<i32>,
        from_line: Option<Sequence>,
    ) -> Result<Items<LogLines>> {
        let permit = begin(ctx)?;
        let job: JobId = job_id.parse().map_err(malformed)?;
        let attempt = attempt.map(|attempt| u32::try_from(attempt).unwrap_or_default());
        let from_line = from_line.map_or(1, |Sequence(line)| line);
        let (broker, projection) = (ctx.data::<Broker>()?, ctx.data::<Projection>()?);
        let execution = find::execution_of(broker, projection, job).await?;
        let request = Request { execution, job, attempt, from_line, follow: true };
        let lines = lines::read(broker, request).await?;
        Ok(held(lines.map_ok(LogLines::from), permit))
    }

    /// The event log. A filter is a subject, as in `ev.execution.*.completed` or `ev.runner.>`, or the id of what the events
    /// are about; without one all events come. Begins with what happens next, behind the event at the sequence `after` (0:
    /// with the first), or with what was stored at the time `since`. Events of users, tokens and secrets come to administrators
    /// alone.
    async fn events(
        &self,
        ctx: &Context<'_>,
        filters: Option<Vec<String>>,
        after: Option<Sequence>,
        since: Option<DateTime>,
    ) -> Result<Items<Event>> {
        let permit = begin(ctx)?;
        let filters = filters.unwrap_or_default();
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let selection = Selection::read(ctx.data::<Caller>()?, &filters)?;
        let log = log(ctx.data::<Broker>()?, &selection.subjects, beginning(after, since)?).await?;
        let let_through = log.map_ok(move |mut part| {
            part.retain(|message| selection.lets_through(message));
            part
        });
        Ok(shown(let_through, permit))
    }

    /// The runners: first each that there is or was, then each that changed, as it is by then. One that changed many times
    /// while its reader was slow comes once.
    #[graphql(complexity = "10 * child_complexity")]
    async fn runners(&self, ctx: &Context<'_>) -> Result<Items<Runner>> {
        let permit = begin(ctx)?;
        let projection = ctx.data::<Projection>()?.clone();
        // What changes while the first are read comes again.
        let changing = ctx.data::<Fleet>()?.changing();
        let first = every(projection.clone(), List::of::<Runner>());
        let later = stream::try_unfold((changing, projection), |(mut changing, projection)| async move {
            while let Some(id) = changing.next().await {
                if let Some(runner) = runner::named(&projection, id).await? {
                    return Ok(Some((runner, (changing, projection))));
                }
            }
            Err(Fault::broker_unavailable("it is not known any more how the runners are"))
        });
        Ok(held(first.chain(later), permit))
    }
}

/// Lets a caller begin who may, if there is room for one more.
fn begin(ctx: &Context<'_>) -> Result<OwnedSemaphorePermit> {
    let operation = format!("Subscription.{}", ctx.field().name());
    ctx.data::<Caller>()?.check(&operation)?;
    Ok(ctx.data::<Permits>()?.take()?)
}

/// Holds the permit for as long as anything may come.
fn held<T: 'static>(
    items: impl Stream<Item = Result<T, Fault>> + Send + 'static,
    permit: OwnedSemaphorePermit,
) -> Items<T> {
    let held = items.map(move |item| {
        let _held = &permit;
        item.map_err(Into::into)
    });
    held.boxed()
}

/// Events one by one.
fn shown(
    parts: impl Stream<Item = Result<Vec<Message>, Fault>> + Send + 'static,
    permit: OwnedSemaphorePermit,
) -> Items<Event> {
    let messages = parts.map_ok(|part| stream::iter(part.into_iter().map(Ok::<_, Fault>))).try_flatten();
    held(messages.map(|message| message.and_then(|message| Event::of(&message))), permit)
}

fn beginning(after: Option<Sequence>, since: Option<DateTime>) -> Result<Begin, Fault> {
    match (after, since) {
        (None, None) => Ok(Begin::Now),
        (Some(Sequence(after)), None) => Ok(Begin::After(after)),
        (None, Some(DateTime(text))) => {
            let time = text.parse::<Timestamp>().map(Begin::Time);
            time.map_err(|_| {
                Fault::invalid(format!("`{text}` is no time"), "Write it as 2026-01-31T08:00:00Z.")
            })
        }
        (Some(_), Some(_)) => {
            Err(Fault::invalid("`after` and `since` both say where to begin", "Give one of both."))
        }
    }
}
