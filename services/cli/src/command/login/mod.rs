//! `patchwave login`, `logout` and `whoami`: who this machine's user is to a Patchwave.
//!
//! Owns the way from a password to a session, and from there to the file of logins.

mod browser;

use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ShowOptions, ask, moment};
use crate::client::{Client, Failed, LoginFile, ServerOption};
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;
use crate::output;

/// Options of `patchwave login`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Login {
    /// The user's name [default: it is asked for]
    #[arg(long, value_name = "NAME", conflicts_with = "token_stdin")]
    name: Option<String>,

    /// Read a token from the standard input and keep it, in place of signing in with a password
    #[arg(long)]
    token_stdin: bool,

    /// Sign in by a browser, in place of a password: with the account of another site, or as whoever is signed in there
    #[arg(long, conflicts_with_all = ["name", "token_stdin"])]
    browser: bool,

    #[command(flatten)]
    server: ServerOption,
}

/// Options of `patchwave logout`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Logout {
    #[command(flatten)]
    server: ServerOption,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedIn {
    token: String,
    name: String,
    role: String,
    expires_at: String,
}

#[derive(Deserialize)]
struct Asked {
    viewer: Viewer,
}

#[derive(Deserialize, Serialize)]
struct Viewer {
    name: String,
    role: String,
    via: String,
}

const VIEWER: &str = "{ viewer { name role via } }";

/// Signs in.
pub(crate) async fn login(options: Login, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let Login { name, token_stdin, browser, server } = options;
    let file = LoginFile::needed()?;
    let client = Client::new(&server, data)?;
    let address = client.address()?;
    if browser {
        browser::login(&client, &file).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if token_stdin {
        let token = ask::line("token")?;
        // One that is wrong is found out now.
        let viewer = whose(&client, token.reveal()).await?;
        file.remember(address.as_str(), token.reveal())?;
        eprintln!("logged in to {address} as {} ({})", viewer.name, viewer.role.to_lowercase());
        return Ok(ExitCode::SUCCESS);
    }
    let name = match name {
        Some(name) => name,
        None => ask::open("name")?,
    };
    let password = ask::hidden(&format!("password of {name}"))?;
    let body = json!({ "name": name, "password": password.reveal() });
    let answer = client.without_token().post(&["signin"], &body).await?;
    let SignedIn { token, name, role, expires_at } = answer.json().await.map_err(|_| {
        Complaint::new(
            "the server's answer is not one that this client knows",
            "compare `patchwave --version`",
        )
    })?;
    file.remember(address.as_str(), &token)?;
    eprintln!("logged in to {address} as {name} ({role}) until {}", moment(&expires_at));
    Ok(ExitCode::SUCCESS)
}

/// Whose a token is.
async fn whose(client: &Client, token: &str) -> Result<Viewer, Failed> {
    let Asked { viewer } = client.with_token(token).graphql(VIEWER, &json!({})).await?;
    Ok(viewer)
}

/// Signs out, and forgets.
pub(crate) async fn logout(options: Logout, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let client = Client::new(&options.server, data)?;
    let address = client.address()?;
    match LoginFile::needed()?.forget(address.as_str())? {
        Some(token) => {
            // Whether or not the server hears of it: here the token is gone.
            if let Err(error) = client.with_token(&token).post(&["signout"], &json!({})).await {
                let error: anyhow::Error = error.into();
                tracing::warn!(
                    error = crate::logging::chain(&error),
                    "the session was not ended at the server"
                );
            }
            eprintln!("logged out of {address}");
        }
        None => eprintln!("there is no login to {address}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows who one is.
pub(crate) async fn whoami(options: ShowOptions, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let Asked { viewer } = options.client(data)?.graphql(VIEWER, &json!({})).await?;
    if options.json {
        output::json(&viewer)?;
    } else {
        let via = match viewer.via.as_str() {
            "NOTHING" => "everybody may do everything",
            "DATA_DIRECTORY" => "by the data directory",
            "SESSION" => "signed in",
            _ => "by a token",
        };
        output::line(&format!("{} ({}), {via}", viewer.name, viewer.role.to_lowercase()))?;
    }
    Ok(ExitCode::SUCCESS)
}
