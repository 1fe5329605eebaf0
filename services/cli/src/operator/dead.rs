//! `patchwave dead`: what a service could not handle.

use std::process::ExitCode;

use anyhow::Context as _;
use broker::{DeadLetter, RetryError};
use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;

use super::OperatorOptions;
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;
use crate::output::{self, Column};

/// The commands of `patchwave dead`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// List what services could not handle, oldest first
    List(List),
    /// Let a service handle a message again
    Retry(Retry),
}

/// Options of `patchwave dead list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    operator: OperatorOptions,

    /// Print JSON, one document a line
    #[arg(long)]
    json: bool,
}

/// Options of `patchwave dead retry`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("which").required(true).args(["id", "all"]))]
pub(crate) struct Retry {
    /// The letter's number in `patchwave dead list`
    id: Option<u64>,

    /// All of them
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    operator: OperatorOptions,
}

/// A letter as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    id: u64,
    consumer: String,
    stream: String,
    sequence: u64,
    subject: String,
    reason: String,
    time: events::Timestamp,
    /// The payload as JSON, or as text if it is none.
    data: serde_json::Value,
}

impl From<DeadLetter> for Shown {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { id, consumer, stream, sequence, subject, reason, time, payload } = letter;
        let data = serde_json::from_slice(&payload)
            .unwrap_or_else(|_| serde_json::Value::from(String::from_utf8_lossy(&payload).into_owned()));
        Self { id, consumer, stream, sequence, subject, reason, time, data }
    }
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(options) => list(options, data).await?,
        Command::Retry(options) => retry(options, data).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(options: List, data: &DataDirOption) -> anyhow::Result<()> {
    let letters = options.operator.connect(data).await?.dead_letters().await.context("the dead letters")?;
    let letters: Vec<Shown> = letters.into_iter().map(Shown::from).collect();
    if options.json {
        return letters.iter().try_for_each(output::json);
    }
    if letters.is_empty() {
        eprintln!("there are no dead letters");
        return Ok(());
    }
    let columns = [
        Column::Right("id"),
        Column::Left("service"),
        Column::Left("time"),
        Column::Left("message"),
        Column::Left("reason"),
    ];
    let rows = letters.into_iter().map(|letter| {
        let time = letter.time.format("%Y-%m-%d %H:%M:%SZ").to_string();
        let place = format!("{} {}", letter.subject, letter.sequence);
        vec![letter.id.to_string(), letter.consumer, time, place, output::shortened(&letter.reason, 120)]
    });
    output::line(&output::table(&columns, rows))
}

async fn retry(options: Retry, data: &DataDirOption) -> anyhow::Result<()> {
    let broker = options.operator.connect(data).await?;
    let ids = match options.id {
        Some(id) => vec![id],
        None => broker
            .dead_letters()
            .await
            .context("the dead letters")?
            .into_iter()
            .map(|letter| letter.id)
            .collect(),
    };
    for id in &ids {
        match broker.retry_dead(*id).await {
            Ok(letter) => {
                output::line(&crate::terminal::inert(&format!(
                    "{id}: {} handles {} again",
                    letter.consumer, letter.subject
                )))?;
            }
            // Somebody else was faster.
            Err(RetryError::NotFound(_)) if options.all => {}
            Err(error @ RetryError::NotFound(_)) => {
                return Err(Complaint::new(error.to_string(), "").into());
            }
            Err(error) => return Err(error).with_context(|| format!("the dead letter {id}")),
        }
    }
    if ids.is_empty() {
        eprintln!("there are no dead letters");
    }
    Ok(())
}
