//! `patchwave action preview`: where a definition would run, and which of its steps, without running anything.

use std::process::ExitCode;

use clap::Args;
use events::document::SkipReason;
use events::id::PreviewId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::run::{Display, Wish, say_how_to_name_repositories};
use crate::client::{Client, Connection, Failed, pages};
use crate::data_dir::DataDirOption;
use crate::failure::{Complaint, PARTIALLY_FAILED, coloured_diagnostic};
use crate::output::{self, Column};

/// Options of `patchwave action preview`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Exit codes: 0, or 2 if a repository cannot be reached, or 1 if there is no preview.")]
pub(crate) struct Options {
    /// Print JSON, one document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    wish: Wish,
}

/// How much of a commit's id is shown: enough to be told apart from others.
const SHORT: usize = 10;

/// How many entries are asked for at once: the most that there are, since each page has the gateway read the whole preview.
const PAGE: usize = 500;

const PREVIEW: &str =
    "mutation($input: PreviewActionInput!) { previewAction(input: $input) { id warnings } }";

const ANSWER: &str = "query($id: ID!) { preview(id: $id) {
  id actionName steps counts { repositories workspaces skipped unreachable } } }";

const WORKSPACES: &str = "query($id: ID!, $first: Int!, $after: String) { preview(id: $id) {
  workspaces(first: $first, after: $after) { nodes { repository url baseRef baseOid path steps { number decision } reused { step executionId jobId } }
    pageInfo { hasNextPage endCursor } } } }";

const SKIPPED: &str = "query($id: ID!, $first: Int!, $after: String) { preview(id: $id) {
  skipped(first: $first, after: $after) { nodes { repository reason message }
    pageInfo { hasNextPage endCursor } } } }";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    preview_action: Payload,
}

#[derive(Deserialize)]
struct Payload {
    id: PreviewId,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Shown<T> {
    preview: Option<T>,
}

#[derive(Deserialize)]
struct WithWorkspaces {
    workspaces: Connection<Workspace>,
}

#[derive(Deserialize)]
struct WithSkipped {
    skipped: Connection<Skipped>,
}

/// A preview with all that it found.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Preview {
    id: PreviewId,
    action_name: String,
    /// How many steps the definition has.
    steps: u64,
    counts: Counts,
    /// Said with the request.
    #[serde(default)]
    warnings: Vec<String>,
    /// Filled page by page after the rest.
    #[serde(default)]
    workspaces: Nodes<Workspace>,
    /// The same.
    #[serde(default)]
    skipped: Nodes<Skipped>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Counts {
    repositories: u64,
    workspaces: u64,
    skipped: u64,
    unreachable: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Nodes<T> {
    nodes: Vec<T>,
}

impl<T> Default for Nodes<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

/// Where there would be a job.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Workspace {
    repository: String,
    url: String,
    base_ref: String,
    base_oid: String,
    path: String,
    steps: Vec<Step>,
    /// Absent where every step runs.
    reused: Option<Reused>,
}

/// Steps that need not run, and where they ran.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reused {
    /// The last of them.
    step: u64,
    execution_id: String,
    job_id: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Step {
    number: u64,
    decision: Decision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Decision {
    Runs,
    Later,
    Never,
}

/// What would get no job, and why.
#[derive(Debug, Deserialize, Serialize)]
struct Skipped {
    repository: String,
    reason: SkipReason,
    message: String,
}

/// Runs it.
pub(super) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let repositories = options.wish.locations()?;
    let client = options.wish.parcel.client(data)?;
    let display = Display::lines(options.json);
    let wished = json!({ "repositories": repositories });
    let asked = options.wish.parcel.send::<Asked>(&client, (PREVIEW, wished), &display).await;
    let Payload { id, warnings } = asked.map_err(say_how_to_name_repositories)?.preview_action;
    for warning in &warnings {
        display.say(&coloured_diagnostic(warning));
    }
    let preview = Preview { warnings, ..Preview::read(&client, id).await? };
    if options.json {
        output::json(&preview)?
    } else {
        output::line(&preview.rendered())?
    }
    Ok(if preview.counts.unreachable == 0 { ExitCode::SUCCESS } else { ExitCode::from(PARTIALLY_FAILED) })
}

impl Preview {
    /// Waits for the answer and reads all of it.
    async fn read(client: &Client, id: PreviewId) -> anyhow::Result<Self> {
        let mut preview: Self = answered(client, id).await?;
        preview.workspaces.nodes = pages(usize::MAX, async |page| {
            let variables = json!({ "id": id, "first": PAGE, "after": page.after });
            let shown: Shown<WithWorkspaces> = client.graphql(WORKSPACES, &variables).await?;
            Ok(shown.preview.ok_or_else(|| Failed::Last(gone(id)))?.workspaces)
        })
        .await?;
        preview.skipped.nodes = pages(usize::MAX, async |page| {
            let variables = json!({ "id": id, "first": PAGE, "after": page.after });
            let shown: Shown<WithSkipped> = client.graphql(SKIPPED, &variables).await?;
            Ok(shown.preview.ok_or_else(|| Failed::Last(gone(id)))?.skipped)
        })
        .await?;
        Ok(preview)
    }

    fn rendered(&self) -> String {
        let Counts { repositories, workspaces, skipped, unreachable } = &self.counts;
        let mut text = output::fields(&[
            ("preview", self.id.to_string()),
            ("action", self.action_name.clone()),
            ("repositories", repositories.to_string()),
            ("jobs", workspaces.to_string()),
            ("skipped", skipped.to_string()),
            ("unreachable", unreachable.to_string()),
        ]);
        if !self.workspaces.nodes.is_empty() {
            text = text + "\n\n" + &self.jobs();
        }
        for (name, failed) in [("skipped", false), ("unreachable", true)] {
            let list: Vec<&Skipped> = self.without(failed).collect();
            if !list.is_empty() {
                let rows =
                    list.iter().map(|skipped| vec![skipped.repository.clone(), skipped.message.clone()]);
                text = text + "\n\n" + &output::table(&[Column::Left(name), Column::Left("reason")], rows);
            }
        }
        if self.has(Decision::Later) {
            text.push_str("\n\n?  the step's `if` is decided once the steps before it have ended");
        }
        text
    }

    fn without(&self, failed: bool) -> impl Iterator<Item = &Skipped> {
        self.skipped.nodes.iter().filter(move |skipped| skipped.reason.is_failure() == failed)
    }

    fn has(&self, decision: Decision) -> bool {
        let mut steps = self.workspaces.nodes.iter().flat_map(|workspace| &workspace.steps);
        steps.any(|step| step.decision == decision)
    }

    /// The jobs as a table.
    fn jobs(&self) -> String {
        let mut columns = ["repository", "branch", "commit", "path", "steps"].map(Column::Left).to_vec();
        let never = self.has(Decision::Never);
        columns.extend(never.then_some(Column::Left("never")));
        let reused = self.workspaces.nodes.iter().any(|workspace| workspace.reused.is_some());
        columns.extend(reused.then_some(Column::Left("reused")));
        let rows = self.workspaces.nodes.iter().map(|workspace| {
            let mut row = vec![
                workspace.repository.clone(),
                workspace.base_ref.strip_prefix("refs/heads/").unwrap_or(&workspace.base_ref).to_owned(),
                workspace.base_oid.chars().take(SHORT).collect(),
                if workspace.path.is_empty() { ".".to_owned() } else { workspace.path.clone() },
                numbers(&workspace.steps, &[Decision::Runs, Decision::Later]),
            ];
            row.extend(never.then(|| numbers(&workspace.steps, &[Decision::Never])));
            row.extend(reused.then(|| workspace.reused.as_ref().map_or_else(String::new, Reused::text)));
            row
        });
        output::table(&columns, rows)
    }
}

impl Reused {
    fn text(&self) -> String {
        let steps = if self.step == 1 { "1".to_owned() } else { format!("1-{}", self.step) };
        format!("{steps} from {}", self.execution_id)
    }
}

/// The numbers of the steps of which this was decided, neighbours of one kind in one: `1-3, 4?`.
fn numbers(steps: &[Step], decisions: &[Decision]) -> String {
    let mut texts = Vec::new();
    for run in steps.chunk_by(|one, next| one.decision == next.decision) {
        let ([first, ..], [.., last]) = (run, run) else { continue };
        if !decisions.contains(&first.decision) {
            continue;
        }
        let mark = if first.decision == Decision::Later { "?" } else { "" };
        texts.push(match (first.number, last.number) {
            (first, last) if first == last => format!("{first}{mark}"),
            (first, last) => format!("{first}-{last}{mark}"),
        });
    }
    texts.join(", ")
}

/// Asks for the answer until it is there.
async fn answered(client: &Client, id: PreviewId) -> anyhow::Result<Preview> {
    loop {
        let shown = client.graphql::<Shown<Preview>>(ANSWER, &json!({ "id": id })).await;
        match shown.map_err(anyhow::Error::from) {
            Ok(shown) => return shown.preview.ok_or_else(|| gone(id)),
            // The server waits before it says so.
            Err(error) if is_pending(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_pending(error: &anyhow::Error) -> bool {
    let complaint = error.downcast_ref::<Complaint>();
    complaint.and_then(|complaint| complaint.code.as_deref()) == Some("preview-pending")
}

fn gone(id: PreviewId) -> anyhow::Error {
    Complaint::new(format!("{id} is not there any more"), "was the log restored? Ask again").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(steps: &[Decision], reused: Option<u64>) -> Preview {
        let steps: Vec<_> = steps
            .iter()
            .enumerate()
            .map(|(index, decision)| json!({ "number": index + 1, "decision": decision }))
            .collect();
        let reused =
            reused.map(|step| json!({ "step": step, "executionId": "execution_9", "jobId": "job_7" }));
        let of = |reason: &str, message: &str| json!({ "repository": "r\u{7}", "reason": reason, "message": message });
        serde_json::from_value(json!({
            "id": PreviewId::from_uuid(uuid::Uuid::from_u128(5)), "actionName": "tidy", "steps": steps.len(),
            "counts": { "repositories": 1, "workspaces": 1, "skipped": 1, "unreachable": 2 },
            "workspaces": { "nodes": [{ "repository": "mono", "url": "/mono", "baseRef": "refs/heads/main",
                "baseOid": "0123456789abcdef", "path": "", "steps": steps,
                "reused": reused }] },
            "skipped": { "nodes": [of("ignored", "It is left out."), of("unreachable", "There is nothing."),
                of("two_rules", "Which?")] },
        }))
        .unwrap()
    }

    #[test]
    fn a_preview_shows_what_would_run_and_what_would_not() {
        use Decision::{Later, Never, Runs};
        let text = preview(&[Runs, Runs, Never, Later, Runs], None).rendered();
        let text = text.replace(&PreviewId::from_uuid(uuid::Uuid::from_u128(5)).token(), "5");
        let expected = "\
preview       preview_5
action        tidy
repositories  1
jobs          1
skipped       1
unreachable   2

repository  branch  commit      path  steps       never
mono        main    0123456789  .     1-2, 4?, 5  3

skipped  reason
r        It is left out.

unreachable  reason
r            There is nothing.
r            Which?

?  the step's `if` is decided once the steps before it have ended";
        assert_eq!(text, expected, "{text}");
        for (step, shown) in [(1, "1-2    1 from execution_9"), (2, "1-2    1-2 from execution_9")] {
            let text = preview(&[Runs, Runs], Some(step)).rendered();
            assert!(text.contains(shown), "{text}");
        }
        let plain = preview(&[Runs], None).rendered();
        assert!(
            !plain.contains("never") && !plain.contains("decided") && !plain.contains("reused"),
            "{plain}"
        );
    }
}
