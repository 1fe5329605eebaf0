//! `patchwave action`: the actions there are.
//!
//! Owns what is shown of them; what is changed is in the modules below.

mod apply;
mod settings;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ListOptions, ShowOptions, action_id, moment, not_found, preview, state};
use crate::client::{Client, Connection, pages};
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};
use crate::terminal::inert;
use settings::Settings;

/// The commands of `patchwave action`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// List the actions, the one that changed last first
    List(List),
    /// Show an action with a revision of its definition, and the files that were sent with it
    Show(Show),
    /// Make a definition the newest of its action, and the action if there is none, without running it
    Apply(apply::Options),
    /// Send the files that a definition mounts, without applying it, and print the digest and the size of their archive
    Upload(apply::Options),
    /// Say when an action is to run; kept and shown, but nothing starts by it yet
    Schedule(settings::Schedule),
    /// Say for the news of which saved search an action is to run; kept and shown, but nothing starts by it yet
    Search(settings::Search),
    /// Say to which campaign an action's plans are to go; kept and shown, but nothing is applied by it yet
    Campaign(settings::Campaign),
    /// Let an action run no more, for ever: it takes no revisions, settings and executions
    Archive(settings::One),
    /// Show where a definition would run, and which of its steps, without running anything
    Preview(Box<preview::Options>),
    /// Print the JSON Schema of a definition, for editors
    Schema(Schema),
}

/// Options of `patchwave action list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    /// List those too that are archived
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    list: ListOptions,
}

/// Options of `patchwave action show`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Show {
    /// The action's name or id
    action: String,

    /// Which revision of its definition [default: the newest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    revision: Option<i32>,

    /// List the files that the revision's steps mount; --json always does
    #[arg(long)]
    files: bool,

    #[command(flatten)]
    show: ShowOptions,
}

/// Options of `patchwave action schema`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Schema {
    /// Of the legacy action file (`action.json`) instead of the batch spec
    #[arg(long)]
    legacy: bool,
}

const LIST: &str = "query($first: Int!, $after: String, $archived: Boolean) {
  actions(first: $first, after: $after, archived: $archived) {
  nodes { id name description revision archived createdAt updatedAt } pageInfo { hasNextPage endCursor } } }";

const SHOW: &str = "query($id: ID!, $revision: Int) { action(id: $id) {
  id name description revision archived createdAt updatedAt
  schedule { cron timeZone setAt setBy nextTimes(first: 3) } savedSearch campaign
  definition(revision: $revision) { fileName source given { name branch title body message }
    files { sha256 size contents { files bytes } } }
  executions(first: 10) { nodes { id state revision requestedAt } } } }";

#[derive(Deserialize)]
struct Listed {
    actions: Connection<Action>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    id: String,
    name: String,
    description: String,
    revision: u32,
    archived: bool,
    created_at: String,
    updated_at: String,
}

#[derive(Deserialize)]
struct Shown {
    action: Option<Whole>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Whole {
    #[serde(flatten)]
    action: Action,
    #[serde(flatten)]
    settings: Settings,
    definition: Definition,
    executions: Executions,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    file_name: String,
    source: String,
    given: serde_json::Value,
    /// Absent where no step mounts any.
    files: Option<Files>,
}

/// The files that were sent with a revision.
#[derive(Debug, Deserialize, Serialize)]
struct Files {
    /// The digest of their archive.
    sha256: String,
    /// The length of their archive.
    size: u64,
    contents: Contents,
    /// The entries of the archive, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<Vec<File>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Contents {
    files: u64,
    bytes: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct File {
    path: String,
    kind: String,
    bytes: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Executions {
    nodes: Vec<Execution>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    id: String,
    state: String,
    revision: u32,
    requested_at: String,
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(options) => list(options, data).await?,
        Command::Apply(options) => apply::apply(options, data).await?,
        Command::Upload(options) => apply::upload(options, data).await?,
        Command::Schedule(options) => settings::schedule(options, data).await?,
        Command::Search(options) => settings::search(options, data).await?,
        Command::Campaign(options) => settings::campaign(options, data).await?,
        Command::Archive(options) => settings::archive(options, data).await?,
        Command::Show(options) => show(options, data).await?,
        Command::Preview(options) => return preview::run(*options, data).await,
        Command::Schema(Schema { legacy: false }) => output::line(spec::BATCH_SPEC_SCHEMA.trim_end())?,
        Command::Schema(Schema { legacy: true }) => output::line(spec::ACTION_FILE_SCHEMA.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(List { all, list: options }: List, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.show.client(data)?;
    // Both kinds, or those alone that are not archived.
    let archived = (!all).then_some(false);
    let actions = pages(options.limit, async |page| {
        let variables = json!({ "first": page.first, "after": page.after, "archived": archived });
        Ok(client.graphql::<Listed>(LIST, &variables).await?.actions)
    })
    .await?;
    if options.show.json {
        return actions.iter().try_for_each(output::json);
    }
    if actions.is_empty() {
        let archived = if all { "" } else { ", unless they are archived (--all)" };
        eprintln!("there are no actions yet{archived}: `patchwave run FILE --repo PATH` makes one");
        return Ok(());
    }
    let rows = actions.into_iter().map(|action| {
        let archived = if action.archived { " (archived)" } else { "" };
        let name = format!("{}{archived}", action.name);
        let about = output::shortened(&action.description, 60);
        vec![name, action.revision.to_string(), moment(&action.updated_at), about]
    });
    let columns = [
        Column::Left("action"),
        Column::Right("revision"),
        Column::Left("changed"),
        Column::Left("description"),
    ];
    output::line(&output::table(&columns, rows))
}

async fn show(options: Show, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.show.client(data)?;
    let variables = json!({ "id": action_id(&options.action), "revision": options.revision });
    let shown: Shown = client.graphql(SHOW, &variables).await?;
    let mut whole = shown.action.ok_or_else(|| not_found("action", &options.action, "action list"))?;
    let revision = whole.shown_revision(options.revision);
    if let Some(files) = whole.definition.files.as_mut().filter(|_| options.files || options.show.json) {
        files.list = Some(listed(&client, &whole.action.id, &revision).await?);
    }
    if options.show.json { output::json(&whole) } else { output::line(&rendered(&whole, &revision)) }
}

impl Whole {
    /// The number of the revision whose definition this is.
    fn shown_revision(&self, asked: Option<i32>) -> String {
        asked.map_or_else(|| self.action.revision.to_string(), |revision| revision.to_string())
    }
}

/// What is in a revision's archive.
async fn listed(client: &Client, action: &str, revision: &str) -> anyhow::Result<Vec<File>> {
    let answer = client.get(&["actions", action, "revisions", revision, "files"], &[]).await?;
    let lines = answer.bytes().await.map_err(reqwest::Error::without_url)?;
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

fn rendered(whole: &Whole, revision: &str) -> String {
    let action = &whole.action;
    let files = whole.definition.files.as_ref();
    let mut fields = vec![
        ("action", action.name.clone()),
        ("id", action.id.clone()),
        ("description", action.description.clone()),
        ("revision", action.revision.to_string()),
        ("archived", if action.archived { "yes" } else { "no" }.to_owned()),
        ("schedule", whole.settings.schedule_words()),
        ("search", whole.settings.saved_search.clone().unwrap_or_else(|| "none".to_owned())),
        ("campaign", whole.settings.campaign.clone().unwrap_or_else(|| "none".to_owned())),
        ("created", moment(&action.created_at)),
        ("changed", moment(&action.updated_at)),
        ("shown", format!("revision {revision}, {}", whole.definition.file_name)),
    ];
    if let Some(files) = files {
        let Contents { files: count, bytes } = &files.contents;
        fields.push(("files", format!("{count} of {bytes} bytes, packed {} bytes", files.size)));
        fields.push(("digest", files.sha256.clone()));
    }
    let mut text = output::fields(&fields);
    if let Some(list) = files.and_then(|files| files.list.as_ref()) {
        let columns = [Column::Left("file"), Column::Left("kind"), Column::Right("bytes")];
        let rows = list.iter().map(|file| vec![file.path.clone(), file.kind.clone(), file.bytes.to_string()]);
        text.push_str("\n\n");
        text.push_str(&output::table(&columns, rows));
    }
    if !whole.executions.nodes.is_empty() {
        let rows = whole.executions.nodes.iter().map(|execution| {
            let revision = execution.revision.to_string();
            vec![execution.id.clone(), state(&execution.state), revision, moment(&execution.requested_at)]
        });
        let columns = [
            Column::Left("execution"),
            Column::Left("state"),
            Column::Right("revision"),
            Column::Left("requested"),
        ];
        text.push_str("\n\n");
        text.push_str(&output::table(&columns, rows));
    }
    text.push_str("\n\n");
    let source: Vec<String> =
        whole.definition.source.lines().map(|line| format!("  {}", indented(line))).collect();
    text + &source.join("\n")
}

/// A line of a definition; what it is indented with stays.
fn indented(line: &str) -> String {
    inert(&line.replace('\t', "        "))
}
