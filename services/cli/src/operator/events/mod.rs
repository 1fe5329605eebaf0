//! `patchwave events`: the log itself, as it was written, and who follows it.

mod schema;
mod subscription;
mod summary;

use std::process::ExitCode;
use std::time::Duration;

use broker::Start;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use events::Timestamp;
use events::filter::{self, Filter};

use crate::client::{Client, Events, PAUSE, ServerOption};
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
    /// How many events to begin with, 1000 at most, unless --from or --since says where
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
    server: ServerOption,
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

    /// The same as the gateway takes it.
    fn parameter(&self) -> Option<(&'static str, String)> {
        let from = self.from.map(|sequence| ("after", (sequence - 1).to_string()));
        from.or_else(|| self.since.map(|time| ("since", time.to_rfc3339_opts(SecondsFormat::Micros, true))))
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
    let client = Client::new(&selection.server, data)?;
    let begin = selection.beginning.parameter().or(last.map(|last| ("last", last.to_string())));
    let subjects = filter::subjects(&selection.filters).join(",");
    let query = vec![("filters", subjects), ("follow", selection.follow.to_string())];
    let mut events = Events::new(&client, &["events"], query, begin);
    loop {
        match events.next().await? {
            Some(text) if selection.json => output::line(&text)?,
            Some(text) => output::line(&summary::line(&serde_json::from_str(&text)?))?,
            // A gateway that stops ends what would go on.
            None if selection.follow => tokio::time::sleep(PAUSE).await,
            None => return Ok(()),
        }
    }
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
}
