//! `patchwave token`: what programs show in place of a password.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use events::id::TokenId;
use events::user::UserName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::user::{Role, read};
use super::{ShowOptions, fresh, moment, shown_once};
use crate::client::{Connection, pages};
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};

/// The commands of `patchwave token`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a token and print it, once
    Create(Create),
    /// List the tokens that are worth something: one's own, or a user's
    List(List),
    /// Take a token's worth away, at once
    Revoke(Revoke),
}

/// Options of `patchwave token create`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Create {
    /// What it is for: \"nightly build\"
    name: String,

    /// Whose it is [default: one's own]
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,

    /// The most that it may do [default: what one may do oneself]
    #[arg(long, value_enum)]
    role: Option<Role>,

    /// For how many days, 366 at most
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    days: u16,

    #[command(flatten)]
    show: ShowOptions,
}

/// Options of `patchwave token list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    /// Whose [default: one's own; for whoever may read the data directory, everybody's]
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,

    #[command(flatten)]
    show: ShowOptions,
}

/// Options of `patchwave token revoke`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Revoke {
    /// The token's id, as `patchwave token list` shows it
    #[arg(value_name = "TOKEN")]
    id: TokenId,

    #[command(flatten)]
    show: ShowOptions,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct New {
    token: Option<String>,
    id: String,
    user: String,
    expires_at: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    id: String,
    user: String,
    name: String,
    kind: String,
    role: String,
    issued_at: String,
    expires_at: String,
}

#[derive(Deserialize)]
struct Listed {
    tokens: Connection<Token>,
}

#[derive(Deserialize)]
struct Payload {
    token: Token,
}

const FIELDS: &str = "id user name kind role issuedAt expiresAt";

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(options) => create(options, data).await?,
        Command::List(options) => list(options, data).await?,
        Command::Revoke(options) => revoke(options, data).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(options: Create, data: &DataDirOption) -> anyhow::Result<()> {
    let Create { name, user, role, days, show } = options;
    let input = json!({
        "name": name, "user": user.as_ref().map(UserName::as_str), "role": role.map(Role::name), "expiresInDays": days,
        "mutationId": fresh(),
    });
    let query =
        "mutation($input: CreateTokenInput!) { createToken(input: $input) { token id user expiresAt } }";
    let answer: Value = show.client(data)?.mutate(query, &json!({ "input": input })).await?;
    let new: New = read(answer, "createToken")?;
    let token = shown_once(new.token.as_deref(), &format!("revoke it: `patchwave token revoke {}`", new.id))?;
    if show.json {
        return output::json(&new);
    }
    output::line(token)?;
    eprintln!("good for {} until {}; it is not shown again", new.user, moment(&new.expires_at));
    Ok(())
}

async fn list(options: List, data: &DataDirOption) -> anyhow::Result<()> {
    let List { user, show } = options;
    let client = show.client(data)?;
    let query = format!(
        "query($user: String, $first: Int!, $after: String) {{
            tokens(user: $user, first: $first, after: $after) {{ nodes {{ {FIELDS} }}
            pageInfo {{ hasNextPage endCursor }} }} }}"
    );
    let user = user.as_ref().map(UserName::as_str);
    let tokens = pages(usize::MAX, async |page| {
        let variables = json!({ "user": user, "first": page.first, "after": page.after });
        Ok(client.graphql::<Listed>(&query, &variables).await?.tokens)
    })
    .await?;
    if show.json {
        return tokens.iter().try_for_each(output::json);
    }
    if tokens.is_empty() {
        eprintln!("there are no tokens: `patchwave token create NAME` makes one");
        return Ok(());
    }
    let rows = tokens.into_iter().map(|token| {
        let (issued, expires) = (moment(&token.issued_at), moment(&token.expires_at));
        let (kind, role) = (token.kind.to_lowercase(), token.role.to_lowercase());
        vec![token.id, token.user, token.name, kind, role, issued, expires]
    });
    let columns = ["token", "user", "name", "kind", "role", "issued", "expires"].map(Column::Left);
    output::line(&output::table(&columns, rows))
}

async fn revoke(options: Revoke, data: &DataDirOption) -> anyhow::Result<()> {
    let Revoke { id, show } = options;
    let query = format!(
        "mutation($input: RevokeTokenInput!) {{ revokeToken(input: $input) {{ token {{ {FIELDS} }} }} }}"
    );
    let input = json!({ "id": id.to_string(), "mutationId": fresh() });
    let answer: Value = show.client(data)?.mutate(&query, &json!({ "input": input })).await?;
    let Payload { token } = read(answer, "revokeToken")?;
    if show.json {
        return output::json(&token);
    }
    eprintln!("the token \"{}\" of {} is worth nothing any more", token.name, token.user);
    Ok(())
}
