//! Applying a definition.

use serde::Deserialize;
use serde_json::json;

use super::display::Display;
use super::wish::Wish;
use crate::client::Client;
use crate::failure::coloured_diagnostic;

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

/// Sends the definition, and says what became of it.
pub(super) async fn apply(client: &Client, wish: &Wish, display: &Display) -> anyhow::Result<Action> {
    let applied: Applied = wish.send(client, (APPLY, json!({})), display).await?;
    let ApplyPayload { action, changed, warnings } = applied.apply_action;
    for warning in &warnings {
        display.say(&coloured_diagnostic(warning));
    }
    let news = if changed { "new" } else { "as before" };
    let name = crate::terminal::inert(&action.name);
    display.say(&format!("action {name}, revision {} ({news})", action.revision));
    Ok(action)
}
