//! `patchwave plan create`: a plan of what an execution has.

use clap::Args;
use events::id::{ExecutionId, PlanId};
use serde::Deserialize;
use serde_json::json;

use super::super::{ShowOptions, fresh, not_found};
use super::Plan;
use crate::client::{Client, Failed};
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;
use crate::output;

/// Options of `patchwave plan create`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The execution's id
    execution: ExecutionId,

    #[command(flatten)]
    show: ShowOptions,
}

const CREATE: &str =
    "mutation($input: CreateCampaignPlanInput!) { createCampaignPlan(input: $input) { sequence } }";

const FIND: &str = "query($id: ID!, $atLeast: Sequence) { execution(id: $id, atLeast: $atLeast) { planIsCurrent plan { id } } }";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    create_campaign_plan: Payload,
}

#[derive(Deserialize)]
struct Payload {
    sequence: u64,
}

#[derive(Deserialize)]
struct Shown {
    execution: Option<Execution>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    plan_is_current: bool,
    plan: Option<Found>,
}

#[derive(Deserialize)]
struct Found {
    id: PlanId,
}

/// Asks for it, waits until it is there, and says which one it is.
pub(super) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    let (client, execution) = (options.show.client(data)?, options.execution);
    let input = json!({ "executionId": execution, "mutationId": fresh() });
    let Answer { create_campaign_plan } = client.mutate(CREATE, &json!({ "input": input })).await?;
    let sequence = create_campaign_plan.sequence;
    let id = match current(&client, execution, sequence).await? {
        Some(id) => id,
        None => {
            let told = wait(&client, execution, sequence).await?;
            current(&client, execution, told).await?.ok_or_else(|| none_yet(execution))?
        }
    };
    if options.show.json {
        return output::json(&Plan::read(&client, id, None).await?);
    }
    output::line(&id.to_string())
}

/// The plan of the jobs as they ended last.
async fn current(client: &Client, id: ExecutionId, at_least: u64) -> anyhow::Result<Option<PlanId>> {
    let shown: Shown = client.graphql(FIND, &json!({ "id": id, "atLeast": at_least })).await?;
    let execution =
        shown.execution.ok_or_else(|| not_found("execution", &id.to_string(), "execution list"))?;
    Ok(execution.plan.filter(|_| execution.plan_is_current).map(|plan| plan.id))
}

/// Reads the execution's story to its end, which is the plan; returns where that stands.
async fn wait(client: &Client, id: ExecutionId, after: u64) -> anyhow::Result<u64> {
    let query = [("after", after.to_string())];
    let mut response = client.get(&["executions", &id.to_string(), "events"], &query).await?;
    let (mut told, mut buffer) = (after, Vec::new());
    let away = |error: reqwest::Error| Failed::Away(error.without_url().into());
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            told = serde_json::from_slice::<Told>(&line)?.sequence;
        }
    }
    Ok(told)
}

#[derive(Deserialize)]
struct Told {
    sequence: u64,
}

fn none_yet(id: ExecutionId) -> Complaint {
    Complaint::new(
        format!("the plan of {id} is not there yet"),
        format!(
            "`patchwave execution show {id}` names it once it is; `patchwave dead list` says if it cannot be made"
        ),
    )
}
