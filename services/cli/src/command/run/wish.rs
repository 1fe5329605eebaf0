//! What a user wants to run, and over what: the text is sent with the name of its files, and the files where the server lacks
//! them.
//!
//! Owns the order. The server is asked first, because whoever runs an action again has sent its files before.

use std::path::PathBuf;

use clap::Args;
use events::blob::BlobRef;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::definition::{self, Given};
use super::display::Display;
use super::files::{self, Files};
use super::repositories::RepositoriesOption;
use crate::client::{Client, ServerOption};
use crate::command::fresh;
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;

/// Options that say it.
#[derive(Args, Clone, Debug)]
pub(in crate::command) struct Wish {
    #[command(flatten)]
    repositories: RepositoriesOption,

    #[command(flatten)]
    pub(in crate::command) parcel: Parcel,
}

impl Wish {
    /// Clone URLs and absolute paths; none: what the definition says.
    pub(in crate::command) fn locations(&self) -> anyhow::Result<Vec<String>> {
        self.repositories.locations()
    }
}

/// A definition, what is given beside it, and where it is sent.
#[derive(Args, Clone, Debug)]
pub(in crate::command) struct Parcel {
    /// The action definition: a batch spec (YAML) or a legacy action.json; `-` reads standard input
    file: PathBuf,

    #[command(flatten)]
    server: ServerOption,

    #[command(flatten)]
    given: Given,
}

impl Parcel {
    pub(in crate::command) fn client(&self, data: &DataDirOption) -> anyhow::Result<Client> {
        Client::new(&self.server, data)
    }

    /// Sends the definition, with what it mounts, to a mutation that takes it with `more` beside it.
    pub(in crate::command) async fn send<T: DeserializeOwned>(
        &self,
        client: &Client,
        (mutation, more): (&str, Value),
        display: &Display,
    ) -> anyhow::Result<T> {
        let definition = definition::read(&self.file)?;
        let files = Files::pack(client, &self.file, (&definition, &self.given), display).await?;
        let mut input = more;
        input["fileName"] = definition.file_name.into();
        input["source"] = definition.source.into();
        input["mutationId"] = fresh().into();
        if let Some(given) = self.given.any() {
            input["given"] = serde_json::to_value(given)?;
        }
        if let Some(files) = &files {
            let blob = files.blob();
            input["files"] = json!({ "sha256": blob.sha256, "size": blob.size });
        }
        let variables = json!({ "input": input });
        let sent = client.mutate(mutation, &variables).await;
        let (Some(files), Err(error)) = (&files, &sent) else { return sent };
        let code = error.downcast_ref::<Complaint>().and_then(|complaint| complaint.code.as_deref());
        if code != Some("files-missing") {
            return sent;
        }
        files.send(client, display).await?;
        client.mutate(mutation, &variables).await
    }

    /// Sends the files alone that the definition mounts; nothing if it mounts none.
    pub(in crate::command) async fn send_files(
        &self,
        client: &Client,
        display: &Display,
    ) -> anyhow::Result<Option<BlobRef>> {
        let definition = definition::read(&self.file)?;
        files::check(&definition, &self.given)?;
        let Some(files) = Files::pack(client, &self.file, (&definition, &self.given), display).await? else {
            return Ok(None);
        };
        files.send(client, display).await?;
        Ok(Some(files.blob().clone()))
    }
}

/// The gateway does not know how this program takes repositories.
pub(in crate::command) fn say_how_to_name_repositories(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Complaint>() {
        Ok(complaint) if complaint.code.as_deref() == Some("no-repositories") => {
            let hint =
                "name them with --repo PATH_OR_URL or --repos-from DIR, or under `on` in the definition";
            Complaint { hint: hint.to_owned(), ..complaint }.into()
        }
        Ok(complaint) => complaint.into(),
        Err(error) => error,
    }
}
