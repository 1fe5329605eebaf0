//! Runners' enrollments: a one-time token for a machine, and its end.
//!
//! Owns the secret of a token, for as long as the answer takes: the log has its digest.

use chrono::Duration;
use events::blob::Sha256;
use events::enrollment::{self, Command, Enrollment, TokenIssued};
use events::id::RunnerId;
use events::runner::{MAX_LABEL, MAX_POOL, is_pool, read_label};
use events::{Aggregate, Event, Timestamp};
use sha2::Digest as _;

use super::create_execution::another_request;
use super::{Commands, Done, now};
use crate::fault::Fault;

/// The longest time for which a token can be redeemed: a month.
const LONGEST: i64 = 31 * 24 * 60 * 60;

/// What a token is to be for.
#[derive(Debug)]
pub(crate) struct TokenFor {
    /// Which runner a machine can become with it.
    pub(crate) runner: RunnerId,
    /// For how long it can be redeemed.
    pub(crate) expires_in_seconds: i64,
    /// The pool of the runner; absent: what its machine says.
    pub(crate) pool: Option<String>,
    /// Its labels; absent: what its machine says.
    pub(crate) labels: Option<Vec<String>>,
}

/// A token, which is shown once.
#[derive(Debug)]
pub(crate) struct NewToken {
    /// The whole of it; nothing: the same request made it before, and what was made now is worth nothing.
    pub(crate) token: Option<String>,
    /// Until when it can be redeemed.
    pub(crate) expires_at: Timestamp,
    /// Where it stands in the log.
    pub(crate) sequence: u64,
}

impl Commands {
    /// Makes a token with which one machine can become this runner. Repeated, it tells of the token that was made, but cannot
    /// show it again.
    pub(crate) async fn create_runner_token(
        &self,
        wanted: TokenFor,
        mutation_id: Option<&str>,
    ) -> Result<NewToken, Fault> {
        let TokenFor { runner, expires_in_seconds, pool, labels } = wanted;
        if !(1..=LONGEST).contains(&expires_in_seconds) {
            return Err(Fault::invalid(
                format!("a token cannot be redeemed for {expires_in_seconds} seconds"),
                format!("Give 1 to {LONGEST} seconds."),
            ));
        }
        if let Some(pool) = pool.as_deref().filter(|pool| !is_pool(pool)) {
            return Err(Fault::invalid(
                format!("`{pool}` cannot be the name of a pool"),
                format!("Name it by 1 to {MAX_POOL} ASCII letters, digits, `_` and `-`."),
            ));
        }
        let labels = labels.map(|labels| labels.iter().map(|label| read(label)).collect()).transpose()?;
        // 244 random bits.
        let secret = || uuid::Uuid::new_v4().simple().to_string();
        let token = format!("{runner}.{}{}", secret(), secret());
        let expires_at = now() + Duration::seconds(expires_in_seconds);
        let token_sha256 = Sha256::from_bytes(&sha2::Sha256::digest(&token).into());
        let wanted = TokenIssued { token_sha256, expires_at, pool, labels };
        let command = Command::IssueToken(wanted.clone());
        let (done, event) =
            self.change_enrollment("createRunnerToken", mutation_id, (runner, command)).await?;
        let issued = match event {
            Some(enrollment::Event::TokenIssued(issued)) => issued,
            _ => wanted.clone(),
        };
        if (&issued.pool, &issued.labels) != (&wanted.pool, &wanted.labels) {
            return Err(another_request(&done.id).into());
        }
        let token = (issued == wanted).then_some(token);
        Ok(NewToken { token, expires_at: issued.expires_at, sequence: done.sequence })
    }

    /// Ends a runner's right to connect, for ever.
    pub(crate) async fn revoke_runner(
        &self,
        runner: RunnerId,
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let (done, _) =
            self.change_enrollment("revokeRunner", mutation_id, (runner, Command::Revoke)).await?;
        Ok(done)
    }

    async fn change_enrollment(
        &self,
        mutation: &'static str,
        mutation_id: Option<&str>,
        (runner, command): (RunnerId, Command),
    ) -> Result<(Done, Option<enrollment::Event>), Fault> {
        let request = self.request(mutation, mutation_id)?;
        let origin = request.origin(runner.to_string());
        let (id, now) = (runner.to_string(), now());
        let aggregate = Aggregate::Enrollment(runner);
        let work = async {
            let decided = self.once(&origin, &aggregate, |history| {
                let state =
                    history.iter().fold(Enrollment::default(), |state, recorded| match &recorded.event {
                        Event::Enrollment(event) => enrollment::evolve(state, event),
                        _ => state,
                    });
                Ok(enrollment::decide(&state, command.clone(), now)?.map(Event::Enrollment))
            });
            let decided = decided.await?;
            let event = match decided.event {
                Some(Event::Enrollment(event)) => Some(event),
                _ => None,
            };
            Ok((Done { id, sequence: decided.sequence }, event))
        };
        self.bounded(&request, work).await
    }
}

fn read(label: &str) -> Result<(String, String), Fault> {
    read_label(label).ok_or_else(|| {
        Fault::invalid(
            format!("`{label}` cannot be a label"),
            format!(
                "Write NAME or NAME=VALUE, in ASCII without blanks and commas, at most {MAX_LABEL} characters."
            ),
        )
    })
}
