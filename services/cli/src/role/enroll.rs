//! How a runner comes to connect: as a user of nats.conf, or with a key that was enrolled.
//!
//! Owns the way from a one-time token to a connection. The token is used once; whatever breaks on the way can be repeated
//! with the same one on the same machine.

use anyhow::Context as _;
use broker::{Broker, Config, enroll};
use events::enrollment::{Answer, Request};
use events::id::RunnerId;

use super::{BrokerOptions, User};
use crate::data_dir::{DataDir, Enrolled, LOCAL_RUNNER};
use crate::failure::Complaint;

/// Enrolls this machine with a token; returns which runner it is now.
pub(crate) async fn join(token: &str, options: &BrokerOptions, data: &DataDir) -> anyhow::Result<RunnerId> {
    let runner = token.split_once('.').and_then(|(runner, _)| runner.parse::<RunnerId>().ok());
    let runner = runner.ok_or_else(|| {
        Complaint::new(
            "the token is none: it was cut or changed",
            "give it as `patchwave runner token create` printed it",
        )
    })?;
    let url = options.url(data).await?;
    let enrolled = data.enrolled();
    let unusable = || format!("{} cannot be used", enrolled.path().display());
    let key = enrolled.key(&runner).with_context(unusable)?;
    let request = Request { token: token.to_owned(), public_key: key.public_key };
    match enroll(&url, &request, options.patience()).await? {
        Answer::Enrolled => {
            enrolled.complete(&runner, &url).with_context(unusable)?;
            tracing::info!(runner.id = %runner, "this machine is enrolled; later starts need no token");
            Ok(runner)
        }
        Answer::Rejected(rejection) => Err(Complaint {
            code: Some(rejection.code.to_string()),
            ..Complaint::new(rejection.message, rejection.hint)
        }
        .into()),
    }
}

/// The runner that is meant when none is named.
pub(crate) fn default_runner(data: &DataDir) -> anyhow::Result<RunnerId> {
    match data.enrolled().only() {
        Some(runner) => Ok(runner),
        None => Ok(LOCAL_RUNNER.parse()?),
    }
}

/// Connects as a runner; returns the broker's address too, unless it is the one of the data directory.
pub(crate) async fn connect(
    runner: &RunnerId,
    options: &BrokerOptions,
    data: &DataDir,
) -> anyhow::Result<(Broker, Option<String>)> {
    let user = User::runner(runner);
    let Some(Enrolled { key, broker_url }) = data.enrolled().find(runner)? else {
        return Ok((options.connect(&user, data).await?, options.given_url()));
    };
    let url = options.given_url().unwrap_or(broker_url);
    let without_proof = user.at(&url, "", options.patience());
    let broker = Broker::connect(&Config { proof: key.proof(), ..without_proof }).await?;
    Ok((broker, Some(url)))
}
