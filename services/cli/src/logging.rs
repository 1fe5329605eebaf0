//! The log on standard error.
//!
//! Owns its form and its filter. A client command logs warnings alone: its user reads results.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::terminal::stderr_has_colours;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log. `PATCHWAVE_LOG` says what is logged, in the syntax of tracing's `EnvFilter`.
pub(crate) fn begin(format: LogFormat, default: &str) -> anyhow::Result<()> {
    let filter = match std::env::var("PATCHWAVE_LOG") {
        Ok(text) if !text.trim().is_empty() => EnvFilter::try_new(&text).map_err(|error| {
            crate::failure::Complaint::new(
                format!("PATCHWAVE_LOG=`{text}` is not a filter: {error}"),
                "write a level (`debug`) or levels per part (`info,scheduler=debug`)",
            )
        })?,
        _ => EnvFilter::new(default),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(stderr_has_colours()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// An error with everything that it comes from, on one line.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    format!("{error:#}")
}
