//! Applying a definition.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::display::Display;
use super::wish::Parcel;
use crate::client::Client;
use crate::failure::coloured_diagnostic;

const APPLY: &str = "mutation($input: ApplyActionInput!) { applyAction(input: $input) {
  action { id name revision } changed warnings sequence } }";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    apply_action: ApplyPayload,
}

/// What came of it.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::command) struct ApplyPayload {
    pub(in crate::command) action: Action,
    changed: bool,
    warnings: Vec<String>,
    sequence: u64,
}

/// An action as it is now.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::command) struct Action {
    pub(in crate::command) id: String,
    name: String,
    revision: u32,
}

/// Sends the definition, and says what became of it.
pub(in crate::command) async fn apply(
    client: &Client,
    parcel: &Parcel,
    display: &Display,
) -> anyhow::Result<ApplyPayload> {
    let applied: Applied = parcel.send(client, (APPLY, json!({})), display).await?;
    let payload = applied.apply_action;
    for warning in &payload.warnings {
        display.say(&coloured_diagnostic(warning));
    }
    let news = if payload.changed { "new" } else { "as before" };
    let name = crate::terminal::inert(&payload.action.name);
    display.say(&format!("action {name}, revision {} ({news})", payload.action.revision));
    Ok(payload)
}
