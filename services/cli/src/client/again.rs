//! Asking again: while nobody answers, for what may be asked twice; and when it is too early, for everything.
//!
//! Owns how long. Whoever is not there at the very first try was not started: that is for the user to know at once.

use std::time::Duration;

use tokio::time::Instant;

use super::Failed;
use super::answer::Refused;

/// How long something is tried.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// Asks until there is an answer, or for a minute.
pub(super) async fn again<T>(ask: impl AsyncFn() -> Result<T, Failed>) -> anyhow::Result<T> {
    let start = Instant::now();
    let mut answer = ask().await;
    let reached = !matches!(&answer, Err(Failed::Away(error)) if never_connected(error));
    while let Err(Failed::Away(error)) = &answer
        && reached
        && start.elapsed() < PATIENCE
    {
        tracing::warn!(error = crate::logging::chain(error), "the connection was lost, asking again");
        tokio::time::sleep(PAUSE).await;
        answer = ask().await;
    }
    answer.map_err(Into::into)
}

/// Asks until it is the caller's turn, or for a minute: whoever asks too often is told when to come again, and nothing has
/// been done until then.
pub(super) async fn in_turn<T>(ask: impl AsyncFn() -> Result<T, Refused>) -> Result<T, Failed> {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(Refused::Later(wait, error)) if start.elapsed() + wait < PATIENCE => {
                tracing::debug!(
                    error = crate::logging::chain(&error),
                    "asking again in {} s",
                    wait.as_secs()
                );
                tokio::time::sleep(wait).await;
            }
            Err(Refused::Later(_, error)) => return Err(Failed::Last(error)),
            Err(Refused::Failed(failed)) => return Err(failed),
        }
    }
}

fn never_connected(error: &anyhow::Error) -> bool {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<reqwest::Error>())
        .is_none_or(reqwest::Error::is_connect)
}
