//! Applying a definition: the text is sent with the name of its files, and the files where the server lacks them.
//!
//! Owns the order. The server is asked first, because whoever runs an action again has sent its files before.

use serde::Deserialize;
use serde_json::json;

use super::display::Display;
use super::files::Files;
use super::{Options, definition, fresh};
use crate::client::Client;
use crate::failure::{Complaint, coloured_diagnostic};

const APPLY: &str = "mutation($input: ApplyActionInput!) { applyAction(input: $input) {
  action { id name revision } changed warnings } }";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    apply_action: ApplyPayload,
}

#[derive(Deserialize)]
struct ApplyPayload {
    action: Action,
    changed: bool,
    warnings: Vec<String>,
}

/// An action as it is now.
#[derive(Deserialize)]
pub(super) struct Action {
    pub(super) id: String,
    name: String,
    revision: u32,
}

/// Sends the definition, with what it mounts.
pub(super) async fn apply(client: &Client, options: &Options, display: &Display) -> anyhow::Result<Action> {
    let definition = definition::read(&options.file)?;
    let files = Files::pack(client, &options.file, (&definition, &options.given), display).await?;
    let mut input = json!({
        "fileName": definition.file_name, "source": definition.source, "mutationId": fresh(),
    });
    if let Some(given) = options.given.any() {
        input["given"] = serde_json::to_value(given)?;
    }
    if let Some(files) = &files {
        let blob = files.blob();
        input["files"] = json!({ "sha256": blob.sha256, "size": blob.size });
    }
    let variables = json!({ "input": input });
    let mut applied = client.mutate::<Applied>(APPLY, &variables).await;
    if let (Some(files), Err(error)) = (&files, &applied) {
        let code = error.downcast_ref::<Complaint>().and_then(|complaint| complaint.code.as_deref());
        if code == Some("files-missing") {
            files.send(client, display).await?;
            applied = client.mutate(APPLY, &variables).await;
        }
    }
    let ApplyPayload { action, changed, warnings } = applied?.apply_action;
    for warning in &warnings {
        display.say(&coloured_diagnostic(warning));
    }
    let news = if changed { "new" } else { "as before" };
    let name = crate::terminal::inert(&action.name);
    display.say(&format!("action {name}, revision {} ({news})", action.revision));
    Ok(action)
}
