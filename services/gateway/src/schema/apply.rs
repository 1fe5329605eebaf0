//! Applying a definition: what a request says of it, and what comes of it.

use async_graphql::{Context, InputObject, Result, SimpleObject};
use events::action::{Definition, Given};
use events::blob::{BlobKind, BlobRef, InvalidSha256};

use super::action::Action;
use super::mutation::written;
use super::scalar::Sequence;
use crate::command::Commands;
use crate::fault::Fault;

/// A definition to apply.
#[derive(InputObject)]
pub(crate) struct ApplyActionInput {
    /// The name of the file; its ending tells the format.
    file_name: String,
    /// Its text.
    source: String,
    /// What a legacy action file needs beside it.
    given: Option<GivenInput>,
    /// The files that its steps mount, once `PUT /files/{sha256}` has taken them.
    files: Option<FilesInput>,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// An archive that was sent before.
#[derive(InputObject)]
pub(crate) struct FilesInput {
    /// Its digest, as 64 hexadecimal digits.
    sha256: String,
    /// Its length in bytes.
    size: Sequence,
}

/// What a legacy action file cannot say.
#[derive(Default, InputObject)]
pub(crate) struct GivenInput {
    name: Option<String>,
    branch: Option<String>,
    title: Option<String>,
    body: Option<String>,
    message: Option<String>,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct ApplyActionPayload {
    action: Action,
    /// Whether it was not so before.
    changed: bool,
    /// What should be written differently.
    warnings: Vec<String>,
    sequence: Sequence,
}

pub(super) async fn apply(ctx: &Context<'_>, input: ApplyActionInput) -> Result<ApplyActionPayload> {
    let definition = definition(input.file_name, input.source, input.given, input.files)?;
    let applied = ctx.data::<Commands>()?.apply_action(definition, input.mutation_id.as_deref()).await?;
    let action = written(ctx, &applied.done).await?;
    let sequence = Sequence(applied.done.sequence);
    Ok(ApplyActionPayload { action, changed: applied.changed, warnings: applied.warnings, sequence })
}

pub(super) fn definition(
    file_name: String,
    source: String,
    given: Option<GivenInput>,
    files: Option<FilesInput>,
) -> Result<Definition, Fault> {
    let GivenInput { name, branch, title, body, message } = given.unwrap_or_default();
    let given = Given { name, branch, title, body, message };
    Ok(Definition { file_name, source, given, files: files.map(blob).transpose()?.map(Box::new) })
}

fn blob(files: FilesInput) -> Result<BlobRef, Fault> {
    let sha256 = files.sha256.parse().map_err(|error: InvalidSha256| {
        Fault::invalid(error.to_string(), "Name the files by the digest of their archive.")
    })?;
    Ok(BlobRef { kind: BlobKind::Files, sha256, size: files.size.0 })
}
