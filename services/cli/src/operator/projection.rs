//! `patchwave projection`: how far the tables are, making them anew, and comparing them with the log.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use ::projector::{Difference, Differences, Progress};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::OperatorOptions;
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};
use crate::role::DatabaseOptions;

/// The commands of `patchwave projection`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Show how far the tables are behind the log
    Status(Options),
    /// Make the tables anew beside the live ones, and switch to them
    Rebuild(Options),
    /// Compare the tables with the log, row by row; the exit code is 1 if they differ
    Verify(Options),
}

/// Options of `patchwave projection …`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    operator: OperatorOptions,

    #[command(flatten)]
    database: DatabaseOptions,

    /// Print JSON, one document a line
    #[arg(long)]
    json: bool,
}

impl Options {
    fn database_url(&self, data: &DataDirOption) -> anyhow::Result<String> {
        Ok(data.resolve()?.database_url(self.database.database_url.as_deref()))
    }
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::Status(options) => status(&options, data).await,
        Command::Rebuild(options) => rebuild(&options, data).await,
        Command::Verify(options) => verify(&options, data).await,
    }
}

async fn status(options: &Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let broker = options.operator.connect(data).await?;
    let status = ::projector::status(&options.database_url(data)?, &broker).await?;
    if options.json {
        output::json(&json!({
            "generation": status.generation, "sequence": status.sequence, "eventTime": status.event_time,
            "lastSequence": status.last_sequence, "lag": status.lag, "logIntact": status.log_intact,
        }))?;
    } else {
        let intact = if status.log_intact { "yes" } else { "no: the log was cut; restore it, or rebuild" };
        output::line(&output::fields(&[
            ("generation", status.generation.to_string()),
            ("sequence", status.sequence.to_string()),
            ("of", status.last_sequence.to_string()),
            ("behind", format!("{} events", status.lag)),
            ("last event", status.event_time.map_or_else(|| "none".to_owned(), |time| time.to_rfc3339())),
            ("log intact", intact.to_owned()),
        ]))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn rebuild(options: &Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let broker = options.operator.connect(data).await?;
    let bar = Bar::new();
    let rebuilt =
        ::projector::rebuild(&options.database_url(data)?, &broker, |progress| bar.show(progress)).await;
    bar.finish();
    let rebuilt = rebuilt?;
    if options.json {
        output::json(&json!({
            "generation": rebuilt.generation, "sequence": rebuilt.sequence, "events": rebuilt.events,
            "unread": unread(&rebuilt.unread),
        }))?;
    } else {
        let (generation, events) = (rebuilt.generation, rebuilt.events);
        output::line(&format!(
            "generation {generation} is live: {events} events up to {}",
            rebuilt.sequence
        ))?;
        say_unread(&rebuilt.unread);
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(options: &Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let broker = options.operator.connect(data).await?;
    let bar = Bar::new();
    let compared =
        ::projector::verify(&options.database_url(data)?, &broker, |progress| bar.show(progress)).await;
    bar.finish();
    let compared = compared?;
    if options.json {
        output::json(&document(&compared))?;
    } else {
        output::line(&rendered(&compared))?;
        say_unread(&compared.unread);
    }
    Ok(if compared.total == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unread(unread: &[(u64, String)]) -> Vec<Value> {
    unread.iter().map(|(sequence, why)| json!({ "sequence": sequence, "reason": why })).collect()
}

fn say_unread(unread: &[(u64, String)]) {
    for (sequence, why) in unread {
        eprintln!("event {sequence} cannot be read: {}", crate::terminal::inert(why));
    }
}

fn document(compared: &Differences) -> Value {
    let differences: Vec<Value> = compared
        .told
        .iter()
        .map(|Difference { table, key, column, live, rebuilt }| {
            json!({ "table": table, "key": key, "column": column, "live": live, "rebuilt": rebuilt })
        })
        .collect();
    json!({
        "generation": compared.generation, "sequence": compared.sequence, "rows": compared.rows,
        "total": compared.total, "differences": differences, "unread": unread(&compared.unread),
    })
}

fn rendered(compared: &Differences) -> String {
    let Differences { generation, sequence, rows, total, .. } = compared;
    if *total == 0 {
        return format!("generation {generation} is what the log says: {rows} rows up to event {sequence}");
    }
    let shown = |value: &Option<String>| {
        value.as_deref().map_or_else(|| "(no row)".to_owned(), |text| output::shortened(text, 60))
    };
    let differences = compared.told.iter().map(|difference| {
        let column = difference.column.unwrap_or("(row)").to_owned();
        vec![
            difference.table.to_owned(),
            difference.key.clone(),
            column,
            shown(&difference.live),
            shown(&difference.rebuilt),
        ]
    });
    let columns = ["table", "key", "column", "is", "should be"].map(Column::Left);
    let more = total.saturating_sub(compared.told.len() as u64);
    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
    format!(
        "generation {generation} differs from the log in {total} places:\n\n{}{more}\n\n\
         `patchwave projection rebuild` makes the tables anew",
        output::table(&columns, differences)
    )
}

/// How far a long command is, where there is a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{elapsed} {bar:40} {pos}/{len} events");
        Self(ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    fn show(&self, progress: Progress) {
        self.0.set_length(progress.target);
        self.0.set_position(progress.sequence);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_listed() {
        let difference = Difference {
            table: "executions",
            key: "execution_1".to_owned(),
            column: Some("succeeded"),
            live: Some("7".to_owned()),
            rebuilt: Some("1".to_owned()),
        };
        let compared = Differences {
            generation: 1,
            sequence: 9,
            rows: 4,
            total: 3,
            told: vec![difference],
            unread: vec![],
        };
        assert_eq!(
            rendered(&compared),
            "\
generation 1 differs from the log in 3 places:

table       key          column     is  should be
executions  execution_1  succeeded  7   1
and 2 more

`patchwave projection rebuild` makes the tables anew"
        );
    }
}
