//! `patchwave execution cancel` and `retry`.

use clap::Args;
use events::id::ExecutionId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{ShowOptions, fresh};
use crate::data_dir::DataDirOption;
use crate::output;

/// Options of `patchwave execution cancel`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Cancel {
    /// The execution's id
    execution: ExecutionId,

    #[command(flatten)]
    show: ShowOptions,
}

/// Options of `patchwave execution retry`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Retry {
    /// The execution's id
    execution: ExecutionId,

    /// Try the jobs that succeeded as well
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    show: ShowOptions,
}

const CANCEL: &str = "mutation($input: CancelExecutionInput!) { cancelExecution(input: $input) {
  execution { id state cancelRequested } sequence } }";

const RETRY: &str = "mutation($input: RetryExecutionInput!) { retryExecution(input: $input) {
  execution { id state cancelRequested } sequence } }";

#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "cancelExecution", alias = "retryExecution")]
    payload: Payload,
}

#[derive(Deserialize, Serialize)]
struct Payload {
    execution: Changed,
    sequence: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    id: String,
    state: String,
    cancel_requested: bool,
}

/// Lets an execution stop.
pub(super) async fn cancel(options: Cancel, data: &DataDirOption) -> anyhow::Result<()> {
    let id = options.execution;
    let input = json!({ "executionId": id, "mutationId": fresh() });
    ask((options.show, data), (CANCEL, input), (id, "is being canceled")).await
}

/// Lets jobs of an execution be tried again.
pub(super) async fn retry(options: Retry, data: &DataDirOption) -> anyhow::Result<()> {
    let id = options.execution;
    let jobs = if options.all { "ALL" } else { "FAILED" };
    let input = json!({ "executionId": id, "jobs": jobs, "mutationId": fresh() });
    ask((options.show, data), (RETRY, input), (id, "goes on")).await
}

async fn ask(
    (show, data): (ShowOptions, &DataDirOption),
    (mutation, input): (&str, serde_json::Value),
    (id, said): (ExecutionId, &str),
) -> anyhow::Result<()> {
    let client = show.client(data)?;
    let Answer { payload } = client.mutate(mutation, &json!({ "input": input })).await?;
    if show.json {
        return output::json(&payload);
    }
    output::line(&format!("{id} {said}: `patchwave execution show {id}` shows how it stands"))
}
