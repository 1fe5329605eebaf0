//! `patchwave events`: the log itself, as it was written, and who follows it.

mod schema;
mod subscription;
mod summary;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use broker::{Broker, Message, Start};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use events::Timestamp;
use events::filter::{self, Filter};

use super::OperatorOptions;
use crate::data_dir::DataDirOption;
use crate::output;

/// The commands of `patchwave events`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the last events
    Tail(Tail),
    /// Show all events
    Show(Selection),
    /// Let a service of others follow events, those from now on unless told otherwise; prints what it needs to connect
    Subscribe(subscription::New),
    /// Take a subscription away
    Unsubscribe(subscription::End),
    /// List the subscriptions, and how far each is
    Subscriptions(subscription::List),
    /// Print the JSON Schema of events, or an AsyncAPI document of all
    Schema(schema::Options),
}

/// Options of `patchwave events tail`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Tail {
    /// How many events to begin with, unless --from or --since says where
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,

    #[command(flatten)]
    selection: Selection,
}

/// Which events.
#[derive(Args, Clone, Debug)]
pub(crate) struct Selection {
    /// Only these: a subject (`ev.execution.*.job.*.failed`, `ev.runner.>`), or the id of an execution, job, action, plan or repository
    #[arg(value_name = "FILTER")]
    filters: Vec<Filter>,

    #[command(flatten)]
    beginning: Beginning,

    /// Stay and show what happens
    #[arg(short, long)]
    follow: bool,

    /// Print JSON, one event a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    operator: OperatorOptions,
}

/// Where in the log to begin.
#[derive(Args, Clone, Debug)]
struct Beginning {
    /// Begin with this sequence; the first is 1
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,

    /// Begin at this time: RFC 3339, or as long ago as 10m, 2h, 7d
    #[arg(long, value_name = "TIME", conflicts_with = "from", value_parser = since)]
    since: Option<Timestamp>,
}

impl Beginning {
    /// Where to begin, if that was said.
    fn start(&self) -> Option<Start> {
        let from = self.from.map(|sequence| Start::After(sequence - 1));
        from.or_else(|| self.since.map(Start::Time))
    }
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let ago: Duration = crate::duration::parse(text).map_err(|_| {
        format!("`{text}` is no time: write 2026-01-31T08:00:00Z, or 10m for ten minutes ago")
    })?;
    Ok(Utc::now() - ago)
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::Tail(Tail { lines, selection }) => show(&selection, Some(lines), data).await?,
        Command::Show(selection) => show(&selection, None, data).await?,
        Command::Subscribe(options) => subscription::subscribe(options, data).await?,
        Command::Unsubscribe(options) => subscription::unsubscribe(options, data).await?,
        Command::Subscriptions(options) => subscription::list(options, data).await?,
        Command::Schema(options) => schema::print(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(selection: &Selection, last: Option<usize>, data: &DataDirOption) -> anyhow::Result<()> {
    let broker = selection.operator.connect(data).await?;
    let filters = filter::subjects(&selection.filters);
    let end = broker.last_sequence().await.context("the end of the log")?;
    let (start, mut held) = match selection.beginning.start() {
        Some(start) => (start, Held::nothing()),
        None => beginning(last, end, selection.filters.is_empty()),
    };
    read(&broker, &filters, start, &mut held, selection, end).await
}

/// Where to begin so that the last events come first. The log has no gaps, so without a filter they can be counted.
fn beginning(last: Option<usize>, end: u64, everything: bool) -> (Start, Held) {
    match last {
        None => (Start::After(0), Held::nothing()),
        Some(0) => (Start::After(end), Held::nothing()),
        Some(count) if everything => (Start::After(end.saturating_sub(count as u64)), Held::nothing()),
        Some(count) => (Start::After(0), Held { last: VecDeque::new(), count: Some(count) }),
    }
}

/// Events that are held back until the end of the log, so that only the last of them are shown.
struct Held {
    last: VecDeque<Message>,
    count: Option<usize>,
}

impl Held {
    const fn nothing() -> Self {
        Self { last: VecDeque::new(), count: None }
    }

    /// Takes an event; returns it if it is to be shown now.
    fn take(&mut self, message: Message) -> Option<Message> {
        let Some(count) = self.count else { return Some(message) };
        self.last.push_back(message);
        if self.last.len() > count {
            self.last.pop_front();
        }
        None
    }

    /// The end was reached.
    fn release(&mut self) -> VecDeque<Message> {
        self.count = None;
        std::mem::take(&mut self.last)
    }
}

async fn read(
    broker: &Broker,
    filters: &[String],
    start: Start,
    held: &mut Held,
    selection: &Selection,
    end: u64,
) -> anyhow::Result<()> {
    let print = |message: &Message| match selection.json {
        true => output::json(&message.document()),
        false => output::line(&summary::line(message)),
    };
    let mut follower = broker.follow_events(filters, start);
    let mut over = matches!(start, Start::After(sequence) if sequence >= end) && !selection.follow;
    while !over {
        let batch = follower.next().await?;
        over = batch.pending == 0;
        for message in batch.messages {
            if !selection.follow && message.sequence > end {
                over = true;
                break;
            }
            if let Some(message) = held.take(message) {
                print(&message)?;
            }
        }
        if over {
            held.release().iter().try_for_each(print)?;
        }
        over &= !selection.follow;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_a_while_ago() {
        assert_eq!(since("2026-01-31T09:00:00+01:00").unwrap().to_rfc3339(), "2026-01-31T08:00:00+00:00");
        let then = since("10m").unwrap();
        let ago = Utc::now() - then;
        assert!((600..610).contains(&ago.num_seconds()), "{ago}");
        assert!(since("yesterday").is_err());
        assert!(since("999999999999999d").is_ok());
    }

    #[test]
    fn the_last_events_are_counted_from_the_end() {
        assert!(matches!(beginning(Some(20), 100, true), (Start::After(80), Held { count: None, .. })));
        assert!(matches!(beginning(Some(20), 7, true), (Start::After(0), _)));
        assert!(matches!(beginning(Some(0), 7, false), (Start::After(7), _)));
        assert!(matches!(beginning(Some(5), 7, false), (Start::After(0), Held { count: Some(5), .. })));
        assert!(matches!(beginning(None, 7, true), (Start::After(0), Held { count: None, .. })));
    }
}
