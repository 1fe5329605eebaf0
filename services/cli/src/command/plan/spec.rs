//! A plan as the gateway has it, with all of its changeset specs.

use events::id::PlanId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::not_found;
use crate::client::{Client, Connection, Failed, pages};
use crate::failure::Complaint;
use crate::output::{self, Column};

/// A plan.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    pub(super) id: String,
    pub(super) execution_id: String,
    pub(super) state: String,
    pub(super) superseded_by: Option<String>,
    pub(super) created_at: String,
    pub(crate) changesets: u64,
    /// These lists are filled page by page after the rest.
    #[serde(default)]
    pub(crate) changeset_specs: Specs,
    #[serde(default)]
    pub(crate) missing: Vec<Without>,
    #[serde(default)]
    pub(crate) unchanged: Vec<Without>,
    #[serde(default)]
    pub(crate) imports: Vec<Import>,
}

/// The changesets that would be published.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Specs {
    pub(crate) nodes: Vec<Spec>,
}

/// One pull request to be.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) position: u64,
    pub(super) job_id: String,
    pub(crate) repository: String,
    pub(super) url: String,
    pub(super) base_ref: String,
    pub(super) base_oid: String,
    pub(crate) head_ref: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) message: String,
    pub(super) author: Option<String>,
    pub(super) fork: Option<bool>,
    pub(super) publication: String,
    pub(crate) diff_stat: DiffStat,
}

/// How large a patch is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct DiffStat {
    pub(crate) files: u64,
    pub(crate) insertions: u64,
    pub(crate) deletions: u64,
}

/// A repository without a changeset, and why.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Without {
    job_id: Option<String>,
    pub(crate) repository: String,
    pub(crate) reason: String,
}

/// A changeset that exists already.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Import {
    pub(crate) repository: String,
    pub(crate) external_id: String,
}

const PLAN: &str = "query($id: ID!, $atLeast: Sequence) { plan(id: $id, atLeast: $atLeast) {
  id executionId state supersededBy createdAt changesets } }";

const SPECS: &str = "query($id: ID!, $first: Int!, $after: String) { plan(id: $id) {
  changesetSpecs(first: $first, after: $after) { nodes {
    position jobId repository url baseRef baseOid headRef title body message author fork publication
    diffStat { files insertions deletions } } pageInfo { hasNextPage endCursor } } } }";

const MISSING: &str = "query($id: ID!, $first: Int!, $after: String) { plan(id: $id) {
  missing(first: $first, after: $after) { nodes { jobId repository reason }
    pageInfo { hasNextPage endCursor } } } }";

const UNCHANGED: &str = "query($id: ID!, $first: Int!, $after: String) { plan(id: $id) {
  unchanged(first: $first, after: $after) { nodes { jobId repository reason }
    pageInfo { hasNextPage endCursor } } } }";

const IMPORTS: &str = "query($id: ID!, $first: Int!, $after: String) { plan(id: $id) {
  imports(first: $first, after: $after) { nodes { repository externalId }
    pageInfo { hasNextPage endCursor } } } }";

#[derive(Deserialize)]
struct Shown<T> {
    plan: Option<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithSpecs {
    changeset_specs: Connection<Spec>,
}

#[derive(Deserialize)]
struct WithMissing {
    missing: Connection<Without>,
}

#[derive(Deserialize)]
struct WithUnchanged {
    unchanged: Connection<Without>,
}

#[derive(Deserialize)]
struct WithImports {
    imports: Connection<Import>,
}

impl Plan {
    /// Reads a whole plan; `at_least` is a place in the log that the answer must have reached.
    pub(crate) async fn read(client: &Client, id: PlanId, at_least: Option<u64>) -> anyhow::Result<Self> {
        let shown: Shown<Self> = client.graphql(PLAN, &json!({ "id": id, "atLeast": at_least })).await?;
        let mut plan = shown.plan.ok_or_else(|| absent(id))?;
        plan.changeset_specs.nodes =
            part(client, id, (SPECS, |part: WithSpecs| part.changeset_specs)).await?;
        plan.missing = part(client, id, (MISSING, |part: WithMissing| part.missing)).await?;
        plan.unchanged = part(client, id, (UNCHANGED, |part: WithUnchanged| part.unchanged)).await?;
        plan.imports = part(client, id, (IMPORTS, |part: WithImports| part.imports)).await?;
        Ok(plan)
    }

    /// The changesets as a table.
    pub(crate) fn table(&self) -> String {
        let columns = [
            Column::Left("repository"),
            Column::Left("branch"),
            Column::Right("files"),
            Column::Right("+"),
            Column::Right("−"),
            Column::Left("published"),
        ];
        let rows = self.changeset_specs.nodes.iter().map(|spec| {
            let DiffStat { files, insertions, deletions } = spec.diff_stat;
            let [files, insertions, deletions] =
                [files, insertions, deletions].map(|count| count.to_string());
            let (repository, branch) = (spec.repository.clone(), spec.branch().to_owned());
            vec![repository, branch, files, insertions, deletions, spec.published()]
        });
        output::table(&columns, rows)
    }
}

/// Reads a list of a plan to its end.
async fn part<P: DeserializeOwned, T>(
    client: &Client,
    id: PlanId,
    (query, list): (&str, fn(P) -> Connection<T>),
) -> anyhow::Result<Vec<T>> {
    let all = pages(usize::MAX, async |page| {
        let variables = json!({ "id": id, "first": page.first, "after": page.after });
        let shown: Shown<P> = client.graphql(query, &variables).await?;
        Ok(list(shown.plan.ok_or_else(|| Failed::Last(absent(id).into()))?))
    });
    Ok(all.await?)
}

fn absent(id: PlanId) -> Complaint {
    not_found("plan", &id.to_string(), "execution show EXECUTION")
}

impl Spec {
    /// The branch as people name it.
    pub(crate) fn branch(&self) -> &str {
        self.head_ref.strip_prefix("refs/heads/").unwrap_or(&self.head_ref)
    }

    /// What happens to it by itself, for people.
    fn published(&self) -> String {
        let published = match self.publication.as_str() {
            "UNPUBLISHED" => "no",
            "DRAFT" => "draft",
            "PUBLISHED" => "yes",
            _ => "by hand",
        };
        let fork = if self.fork == Some(true) { ", to a fork" } else { "" };
        format!("{published}{fork}")
    }

    /// Its patch, byte by byte.
    pub(crate) async fn patch(&self, client: &Client, plan: PlanId) -> Result<Vec<u8>, Failed> {
        let (plan, position) = (plan.to_string(), self.position.to_string());
        let answer = client.get(&["plans", &plan, "changesets", &position, "patch"], &[]).await?;
        let bytes = answer.bytes().await.map_err(|error| Failed::Away(error.without_url().into()))?;
        Ok(bytes.to_vec())
    }
}
