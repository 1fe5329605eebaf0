//! `patchwave job cancel` and `retry`.

use clap::Args;
use events::id::JobId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{ShowOptions, fresh};
use crate::data_dir::DataDirOption;
use crate::output;

/// Options of both.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The job's id
    job: JobId,

    #[command(flatten)]
    show: ShowOptions,
}

const CANCEL: &str = "mutation($input: JobInput!) { cancelJob(input: $input) {
  job { id state attempt cancelRequested } sequence } }";

const RETRY: &str = "mutation($input: JobInput!) { retryJob(input: $input) {
  job { id state attempt cancelRequested } sequence } }";

#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "cancelJob", alias = "retryJob")]
    payload: Payload,
}

#[derive(Deserialize, Serialize)]
struct Payload {
    job: Changed,
    sequence: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    id: String,
    state: String,
    attempt: u32,
    cancel_requested: bool,
}

/// Lets a job stop.
pub(super) async fn cancel(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    ask(options, data, (CANCEL, "is being canceled")).await
}

/// Lets a job that has ended be tried again.
pub(super) async fn retry(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    ask(options, data, (RETRY, "is tried again")).await
}

async fn ask(options: Options, data: &DataDirOption, (mutation, said): (&str, &str)) -> anyhow::Result<()> {
    let id = options.job;
    let input = json!({ "jobId": id, "mutationId": fresh() });
    let client = options.show.client(data)?;
    let Answer { payload } = client.mutate(mutation, &json!({ "input": input })).await?;
    if options.show.json {
        return output::json(&payload);
    }
    output::line(&format!("{id} {said}: `patchwave job show {id}` shows how it stands"))
}
