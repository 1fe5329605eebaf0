//! `patchwave job logs`: an attempt's log, every byte once and in order, also over a lost connection.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use events::id::JobId;
use reqwest::Response;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::client::{Client, Failed, PAUSE, ServerOption};
use crate::data_dir::DataDirOption;
use crate::output;
use crate::terminal::Filter;

/// Options of `patchwave job logs`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The job's id
    job: JobId,

    /// Stay until the attempt's log is complete
    #[arg(short, long)]
    follow: bool,

    /// Which attempt [default: the newest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,

    /// Begin with this line
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,

    /// The bytes as they are, also on a terminal, which acts on what is in them
    #[arg(long)]
    raw: bool,

    #[command(flatten)]
    server: ServerOption,
}

/// How long nobody may answer until it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where in a log the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    line: u64,
    /// How many bytes of that line were read.
    column: u64,
}

impl Place {
    /// Goes past bytes.
    fn pass(&mut self, bytes: &[u8]) {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let after = bytes.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
        self.line += lines;
        self.column = if lines > 0 { after } else { self.column + after };
    }
}

/// Reads a log across connections.
struct Reader<'c> {
    client: &'c Client,
    job: JobId,
    attempt: Option<u32>,
    follow: bool,
    place: Place,
}

enum End {
    /// The server has sent all that there is.
    Whole,
    /// The connection broke.
    Cut(anyhow::Error),
}

/// Runs it.
pub(super) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    let client = Client::new(&options.server, data)?;
    let filtered = !options.raw && std::io::stdout().is_terminal();
    let mut filter = filtered.then(Filter::default);
    let place = Place { line: options.from_line, column: 0 };
    let mut reader =
        Reader { client: &client, job: options.job, attempt: options.attempt, follow: options.follow, place };
    let mut write = |bytes: &[u8]| match &mut filter {
        Some(filter) => output::bytes(filter.push(bytes).as_bytes()),
        None => output::bytes(bytes),
    };
    reader.read_all(&mut write).await?;
    match &mut filter {
        Some(filter) => output::bytes((filter.finish() + "\u{1b}[0m").as_bytes()),
        None => Ok(()),
    }
}

impl Reader<'_> {
    async fn read_all(&mut self, write: &mut impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut first = true;
        let mut last_word = Instant::now();
        loop {
            let before = self.place;
            let cut = match self.open().await {
                Ok(response) => match self.copy(response, write).await? {
                    End::Whole if !self.follow || self.is_over().await? => return Ok(()),
                    End::Whole => None,
                    End::Cut(error) => Some(error),
                },
                Err(Failed::Away(error)) if !first => Some(error),
                Err(error) => return Err(error.into()),
            };
            first = false;
            if self.place != before || cut.is_none() {
                last_word = Instant::now();
            }
            if let Some(error) = cut {
                if last_word.elapsed() >= PATIENCE {
                    return Err(error);
                }
                tracing::warn!(error = crate::logging::chain(&error), "the connection was lost, reading on");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn open(&self) -> Result<Response, Failed> {
        let mut query = vec![("fromLine", self.place.line.to_string()), ("follow", self.follow.to_string())];
        query.extend(self.attempt.map(|attempt| ("attempt", attempt.to_string())));
        self.client.get(&["jobs", &self.job.to_string(), "log"], &query).await
    }

    /// Writes what comes, without what was written of the first line before.
    async fn copy(
        &mut self,
        mut response: Response,
        write: &mut impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<End> {
        // The attempt that is read stays the same, whatever is tried next meanwhile.
        let attempt =
            response.headers().get("patchwave-attempt").and_then(|value| value.to_str().ok()?.parse().ok());
        self.attempt = self.attempt.or(attempt);
        let mut known = self.place.column;
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(End::Whole),
                Err(error) => return Ok(End::Cut(error.without_url().into())),
            };
            let skip = usize::try_from(known).unwrap_or(usize::MAX).min(chunk.len());
            known -= skip as u64;
            let new = &chunk[skip..];
            write(new)?;
            self.place.pass(new);
        }
    }

    /// Whether the attempt has ended, so that its log has, too: a gateway that stops also ends the stream.
    async fn is_over(&self) -> anyhow::Result<bool> {
        let query = "query($id: ID!) { job(id: $id) { attempts { number state } } }";
        let shown = self.client.graphql::<Shown>(query, &json!({ "id": self.job })).await;
        let attempts = match shown {
            Ok(shown) => shown.job.map(|job| job.attempts).unwrap_or_default(),
            Err(Failed::Away(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut ours =
            attempts.iter().filter(|attempt| self.attempt.is_none_or(|number| number == attempt.number));
        Ok(ours.next_back().is_some_and(|attempt| !matches!(attempt.state.as_str(), "ASSIGNED" | "RUNNING")))
    }
}

#[derive(Deserialize)]
struct Shown {
    job: Option<Attempts>,
}

#[derive(Deserialize)]
struct Attempts {
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
struct Attempt {
    number: u32,
    state: String,
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_is_a_line_and_what_was_read_of_it() {
        let mut place = Place { line: 5, column: 0 };
        for (bytes, line, column) in
            [(&b"ab"[..], 5, 2), (b"c", 5, 3), (b"\n", 6, 0), (b"x\ny\nzzz", 8, 3), (b"", 8, 3)]
        {
            place.pass(bytes);
            assert_eq!(place, Place { line, column });
        }
    }
}
