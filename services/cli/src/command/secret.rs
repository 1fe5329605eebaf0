//! `patchwave secret`: values that steps may use and nobody may read.
//!
//! Owns the way of a value to the gateway: from a prompt that shows nothing, from the standard input or from a file. Never from
//! an argument, which everybody on the machine could read.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use broker::sealing::Plain;
use clap::{Args, Subcommand};
use events::secret::{MAX_BYTES, SecretName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ShowOptions, action_id, moment};
use crate::client::{Client, Connection, ServerOption, pages};
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;
use crate::output::{self, Column};

/// The commands of `patchwave secret`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a secret a value: asked for without being shown, or read from the standard input
    Set(Set),
    /// List the secrets: names, scopes and versions, never values
    List(List),
    /// Take a secret's value away
    Delete(Which),
}

/// Options of `patchwave secret set`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Set {
    #[command(flatten)]
    which: Which,

    /// Read the value from a file, byte for byte
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

/// Which secret.
#[derive(Args, Clone, Debug)]
pub(crate) struct Which {
    /// Its name, which is also the variable that a step finds it in
    name: SecretName,

    /// For the steps of this action alone, by its name or id; it is used in place of one for all
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,

    #[command(flatten)]
    server: ServerOption,
}

/// Options of `patchwave secret list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    /// Those that the steps of this action may ask for, by its name or id
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,

    #[command(flatten)]
    show: ShowOptions,
}

const FIELDS: &str = "id name actionId version actor setAt action { name }";

#[derive(Deserialize)]
struct Listed {
    secrets: Connection<Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WasSet {
    set_secret: Changed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WasDeleted {
    delete_secret: Changed,
}

#[derive(Deserialize)]
struct Changed {
    secret: Secret,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    id: String,
    name: String,
    action_id: Option<String>,
    version: u32,
    actor: String,
    set_at: String,
    action: Option<Action>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Action {
    name: String,
}

impl Secret {
    /// Whose steps may ask for it.
    fn scope(&self) -> String {
        match (&self.action, &self.action_id) {
            (Some(action), _) => format!("action {}", action.name),
            (None, Some(id)) => id.clone(),
            (None, None) => "every action".to_owned(),
        }
    }
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::Set(options) => set(options, data).await?,
        Command::List(options) => list(options, data).await?,
        Command::Delete(which) => delete(which, data).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn set(options: Set, data: &DataDirOption) -> anyhow::Result<()> {
    let Set { which, from_file } = options;
    let client = Client::new(&which.server, data)?;
    let value = value(&which.name, from_file.as_deref())?;
    let mut input = which.input();
    input["value"] = value.reveal().into();
    let query = format!(
        "mutation($input: SetSecretInput!) {{ setSecret(input: $input) {{ secret {{ {FIELDS} }} }} }}"
    );
    let answer: WasSet = client.mutate(&query, &json!({ "input": input })).await?;
    let secret = answer.set_secret.secret;
    eprintln!("set {} for {}, version {}", secret.name, secret.scope(), secret.version);
    Ok(())
}

async fn delete(which: Which, data: &DataDirOption) -> anyhow::Result<()> {
    let client = Client::new(&which.server, data)?;
    let query = format!(
        "mutation($input: DeleteSecretInput!) {{ deleteSecret(input: $input) {{ secret {{ {FIELDS} }} }} }}"
    );
    let answer: WasDeleted = client.mutate(&query, &json!({ "input": which.input() })).await?;
    let secret = answer.delete_secret.secret;
    eprintln!("deleted {} for {}", secret.name, secret.scope());
    Ok(())
}

async fn list(options: List, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.show.client(data)?;
    let query = format!(
        "query($action: ID, $first: Int!, $after: String) {{
            secrets(actionId: $action, first: $first, after: $after) {{ nodes {{ {FIELDS} }}
            pageInfo {{ hasNextPage endCursor }} }} }}"
    );
    let action = options.action.as_deref().map(action_id);
    let secrets = pages(usize::MAX, async |page| {
        let variables = json!({ "action": action, "first": page.first, "after": page.after });
        Ok(client.graphql::<Listed>(&query, &variables).await?.secrets)
    })
    .await?;
    if options.show.json {
        return secrets.iter().try_for_each(output::json);
    }
    if secrets.is_empty() {
        eprintln!("there are no secrets yet: `patchwave secret set NAME` sets one");
        return Ok(());
    }
    let rows = secrets.into_iter().map(|secret| {
        let (scope, set) = (secret.scope(), moment(&secret.set_at));
        vec![secret.name, scope, secret.version.to_string(), set, secret.actor]
    });
    let columns = [
        Column::Left("secret"),
        Column::Left("for"),
        Column::Right("version"),
        Column::Left("set"),
        Column::Left("by"),
    ];
    output::line(&output::table(&columns, rows))
}

impl Which {
    fn input(&self) -> Value {
        let id = uuid::Uuid::now_v7().to_string();
        let mut input = json!({ "name": self.name.as_str(), "mutationId": id });
        if let Some(action) = &self.action {
            input["actionId"] = action_id(action).to_string().into();
        }
        input
    }
}

/// Reads the value from wherever it is to come from.
fn value(name: &SecretName, file: Option<&Path>) -> anyhow::Result<Plain> {
    if let Some(path) = file {
        let open = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        return read(open, &path.display().to_string());
    }
    if std::io::stdin().is_terminal() {
        let terminal = console::Term::stderr();
        terminal
            .write_str(&format!("value of {name} (it is not shown): "))
            .context("asking for the value")?;
        return Ok(Plain::new(terminal.read_secure_line().context("reading the value")?));
    }
    let value = read(std::io::stdin().lock(), "the standard input")?;
    // What `echo` ends its text with is hardly meant.
    let text = value.reveal();
    let text = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text);
    Ok(Plain::new(text.to_owned()))
}

/// Reads a text that is not longer than a value may be, save for what the gateway refuses with its own words.
fn read(from: impl std::io::Read, what: &str) -> anyhow::Result<Plain> {
    let mut text = String::new();
    let most = MAX_BYTES as u64 + 3;
    match from.take(most).read_to_string(&mut text) {
        Ok(_) => Ok(Plain::new(text)),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(Complaint::new(
            format!("{what} is not UTF-8 text"),
            "encode it, in base64 say, and let the step decode it",
        )
        .into()),
        Err(error) => Err(error).with_context(|| format!("{what} cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_is() {
        assert_eq!(read(&b"a\r\n"[..], "x").unwrap().reveal(), "a\r\n");
        let error = read(&b"hunter22\xff"[..], "key.bin").unwrap_err().to_string();
        assert_eq!(error, "key.bin is not UTF-8 text");
    }
}
