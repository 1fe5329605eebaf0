//! `patchwave runner token` and `patchwave runner revoke`: which machines may be runners.

use std::time::Duration;

use clap::{Args, Subcommand};
use events::id::RunnerId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::runner::One;
use super::{ShowOptions, fresh, moment, shown_once};
use crate::data_dir::DataDirOption;
use crate::output;
use crate::role::runner;

const CREATE: &str =
    "mutation($input: CreateRunnerTokenInput!) { createRunnerToken(input: $input) { token expiresAt } }";
const REVOKE: &str =
    "mutation($input: RevokeRunnerInput!) { revokeRunner(input: $input) { runner sequence } }";

/// `patchwave runner token`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token with which one machine can become the runner NAME, once
    Create(CreateOptions),
}

/// Options of `patchwave runner token create`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateOptions {
    /// The runner's name: 1 to 63 characters of a-z, 0-9 and inner hyphens
    #[arg(value_name = "NAME")]
    runner: RunnerId,

    /// For how long it can be redeemed: 10m, 1h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = crate::duration::parse)]
    expires: Duration,

    /// The pool of the runner, whatever `--pool` says on its machine [default: what is said there]
    #[arg(long, value_name = "NAME", value_parser = runner::pool)]
    pool: Option<String>,

    /// A label of the runner; repeat it for several. It has these and no others, whatever `--label` says on its machine
    /// [default: what is said there]
    #[arg(long = "label", value_name = "NAME[=VALUE]", value_parser = label_text)]
    labels: Vec<String>,

    #[command(flatten)]
    show: ShowOptions,
}

fn label_text(text: &str) -> Result<String, String> {
    runner::label(text).map(|_| text.to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    create_runner_token: NewToken,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct NewToken {
    token: Option<String>,
    expires_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Revoked {
    revoke_runner: RevokedRunner,
}

#[derive(Deserialize, Serialize)]
struct RevokedRunner {
    runner: String,
    sequence: serde_json::Value,
}

/// Prints a new token.
pub(crate) async fn create(options: CreateOptions, data: &DataDirOption) -> anyhow::Result<()> {
    let seconds = i32::try_from(options.expires.as_secs()).unwrap_or(i32::MAX);
    let labels = (!options.labels.is_empty()).then_some(options.labels);
    let input = json!({ "input": {
        "runner": options.runner, "expiresInSeconds": seconds, "pool": options.pool, "labels": labels,
        "mutationId": fresh(),
    } });
    let created: Created = options.show.client(data)?.mutate(CREATE, &input).await?;
    let new = created.create_runner_token;
    let token = shown_once(new.token.as_deref(), "ask again, which makes it void")?;
    if options.show.json {
        output::json(&new)?;
    } else {
        output::line(token)?;
        eprintln!(
            "until {}, on the other machine: patchwave runner --join TOKEN --broker-url nats://…",
            moment(&new.expires_at)
        );
    }
    Ok(())
}

/// Cuts a runner off.
pub(crate) async fn revoke(options: One, data: &DataDirOption) -> anyhow::Result<()> {
    let input = json!({ "input": { "runner": options.runner, "mutationId": fresh() } });
    let revoked: Revoked = options.show.client(data)?.mutate(REVOKE, &input).await?;
    if options.show.json {
        output::json(&revoked.revoke_runner)?;
    } else {
        eprintln!(
            "the runner {} is revoked; what it ran is tried again elsewhere",
            revoked.revoke_runner.runner
        );
    }
    Ok(())
}
