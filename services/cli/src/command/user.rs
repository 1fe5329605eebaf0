//! `patchwave user`: who may use a Patchwave, and for what.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use events::user::UserName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ShowOptions, ask, fresh, moment};
use crate::client::{Connection, ServerOption, pages};
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};

/// The commands of `patchwave user`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a user; the password is asked for, or read from the standard input
    Create(Create),
    /// List the users
    List(ShowOptions),
    /// Let a user do more or less
    Role(ChangeRole),
    /// Set a user's password: it is asked for, or read from the standard input
    Password(Password),
    /// Let whoever the provider of identities knows so sign in as a user
    Link(Link),
    /// Take a user's rights away, for ever
    Remove(One),
}

/// How much somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// See everything
    Viewer,
    /// Run actions, and all that belongs to it
    Operator,
    /// Decide who may do what
    Admin,
}

impl Role {
    /// Its name in GraphQL.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "VIEWER",
            Self::Operator => "OPERATOR",
            Self::Admin => "ADMIN",
        }
    }
}

/// Options of `patchwave user create`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Create {
    /// The name: a-z, 0-9, `-`, `.`, `_` and `@`
    name: UserName,

    /// What the user may do
    #[arg(long, value_enum, default_value = "viewer")]
    role: Role,

    /// Set no password: the user works with tokens alone
    #[arg(long)]
    no_password: bool,

    #[command(flatten)]
    show: ShowOptions,
}

/// Options of `patchwave user role`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChangeRole {
    /// The user
    name: UserName,

    /// What the user may do from now on
    #[arg(value_enum)]
    role: Role,

    #[command(flatten)]
    show: ShowOptions,
}

/// Options of `patchwave user password`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Password {
    /// The user [default: oneself, who is asked for the current password too]
    name: Option<UserName>,

    #[command(flatten)]
    server: ServerOption,
}

/// Options of `patchwave user link`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Link {
    /// The user
    name: UserName,

    /// The provider, as the gateway has it in --oidc-issuer
    #[arg(long, value_name = "URL")]
    issuer: String,

    /// The provider's name for the person, which the page shows that refused them
    #[arg(long, allow_hyphen_values = true)]
    subject: String,

    #[command(flatten)]
    show: ShowOptions,
}

/// A user.
#[derive(Args, Clone, Debug)]
pub(crate) struct One {
    /// The user
    name: UserName,

    #[command(flatten)]
    show: ShowOptions,
}

const FIELDS: &str = "name role passwordSetAt identity { issuer subject } actor createdAt";

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    name: String,
    role: String,
    password_set_at: Option<String>,
    identity: Option<Identity>,
    actor: String,
    created_at: String,
}

/// Who signs in as a user through a provider.
#[derive(Debug, Deserialize, Serialize)]
struct Identity {
    issuer: String,
    subject: String,
}

#[derive(Deserialize)]
struct Listed {
    users: Connection<User>,
}

#[derive(Deserialize)]
struct Payload {
    user: User,
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(options) => create(options, data).await?,
        Command::List(options) => list(options, data).await?,
        Command::Role(options) => {
            let input = json!({ "name": options.name.as_str(), "role": options.role.name() });
            let user = change(&options.show, data, ("setUserRole", "SetUserRoleInput"), input).await?;
            said(&options.show, &user, "is now")?;
        }
        Command::Password(options) => password(options, data).await?,
        Command::Link(Link { name, issuer, subject, show }) => {
            let input = json!({ "name": name.as_str(), "issuer": issuer, "subject": subject });
            let user = change(&show, data, ("linkUser", "LinkUserInput"), input).await?;
            said(&show, &user, "is linked, and is")?;
        }
        Command::Remove(One { name, show }) => {
            let input = json!({ "name": name.as_str() });
            let user = change(&show, data, ("removeUser", "RemoveUserInput"), input).await?;
            said(&show, &user, "is removed, and was")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(options: Create, data: &DataDirOption) -> anyhow::Result<()> {
    let Create { name, role, no_password, show } = options;
    let mut input = json!({ "name": name.as_str(), "role": role.name() });
    if !no_password {
        input["password"] = ask::chosen(&format!("password of {name}"))?.reveal().into();
    }
    let user = change(&show, data, ("createUser", "CreateUserInput"), input).await?;
    said(&show, &user, "is now")
}

async fn password(options: Password, data: &DataDirOption) -> anyhow::Result<()> {
    let Password { name, server } = options;
    let mut input = json!({});
    let whose = match &name {
        Some(name) => {
            input["name"] = name.as_str().into();
            format!(" of {name}")
        }
        None => {
            input["currentPassword"] = ask::hidden("current password")?.reveal().into();
            String::new()
        }
    };
    input["password"] = ask::chosen(&format!("new password{whose}"))?.reveal().into();
    let show = ShowOptions { server, json: false };
    let user = change(&show, data, ("setPassword", "SetPasswordInput"), input).await?;
    eprintln!("the password of {} is set; whoever signed in with the one before signs in again", user.name);
    Ok(())
}

async fn change(
    show: &ShowOptions,
    data: &DataDirOption,
    (mutation, kind): (&str, &str),
    mut input: Value,
) -> anyhow::Result<User> {
    input["mutationId"] = fresh().into();
    let query =
        format!("mutation($input: {kind}!) {{ {mutation}(input: $input) {{ user {{ {FIELDS} }} }} }}");
    let answer: Value = show.client(data)?.mutate(&query, &json!({ "input": input })).await?;
    let Payload { user } = read(answer, mutation)?;
    Ok(user)
}

/// What a mutation gave, under its name.
pub(super) fn read<T: DeserializeOwned>(mut answer: Value, mutation: &str) -> anyhow::Result<T> {
    Ok(serde_json::from_value(answer[mutation].take())?)
}

fn said(show: &ShowOptions, user: &User, what: &str) -> anyhow::Result<()> {
    if show.json {
        return output::json(user);
    }
    eprintln!("{} {what} {}", user.name, user.role.to_lowercase());
    Ok(())
}

async fn list(options: ShowOptions, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.client(data)?;
    let query = format!(
        "query($first: Int!, $after: String) {{ users(first: $first, after: $after) {{ nodes {{ {FIELDS} }}
            pageInfo {{ hasNextPage endCursor }} }} }}"
    );
    let users = pages(usize::MAX, async |page| {
        let variables = json!({ "first": page.first, "after": page.after });
        Ok(client.graphql::<Listed>(&query, &variables).await?.users)
    })
    .await?;
    if options.json {
        return users.iter().try_for_each(output::json);
    }
    if users.is_empty() {
        eprintln!("there are no users yet: `patchwave user create NAME --role admin` makes one");
        return Ok(());
    }
    let rows = users.into_iter().map(|user| {
        let password = user.password_set_at.as_deref().map(moment).unwrap_or_default();
        let provider = user.identity.map(|identity| identity.issuer).unwrap_or_default();
        vec![user.name, user.role.to_lowercase(), password, provider, moment(&user.created_at), user.actor]
    });
    let columns = ["user", "role", "password set", "provider", "created", "by"].map(Column::Left);
    output::line(&output::table(&columns, rows))
}
