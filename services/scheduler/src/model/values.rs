//! Values that a history needs and no decision looks at.

use events::action::Definition;
use events::blob::{BlobKind, BlobRef, Sha256};
use events::envelope::{Actor, NewEvent, Origin};
use events::id::CommandId;
use events::image::ImagePin;
use events::log::LogEnd;
use events::ticket::Workspace;
use events::{Aggregate, Event};

pub(super) fn blob(kind: BlobKind) -> BlobRef {
    BlobRef { kind, sha256: Sha256::from_bytes(&[7; 32]), size: 1 }
}

pub(super) fn patch() -> BlobRef {
    blob(BlobKind::Patch)
}

pub(super) fn log_end() -> LogEnd {
    LogEnd { chunks: 1, bytes: 1, lines: 1, sha256: Sha256::from_bytes(&[8; 32]) }
}

/// A definition whose one step names an image.
pub(super) fn definition() -> Definition {
    Definition {
        file_name: "a.batch.yaml".to_owned(),
        source: DEFINITION.to_owned(),
        given: Default::default(),
        files: Default::default(),
    }
}

const DEFINITION: &str = "
name: a
steps: [{ run: a, container: alpine }]
changesetTemplate: { title: a, branch: a, commit: { message: a } }
";

/// What the image of the definition is, by the one who looks.
pub(super) fn pin(looks: u8) -> ImagePin {
    let digest = format!("alpine@sha256:{}", Sha256::from_bytes(&[looks; 32]).as_str());
    ImagePin { reference: "alpine".to_owned(), digest }
}

/// The folder of this number, in one of two repositories.
pub(super) fn workspace(number: usize) -> Workspace {
    Workspace {
        repository: format!("repository-{}", number % 2),
        url: String::new(),
        base_ref: "refs/heads/main".parse().expect("a branch"),
        base_oid: "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3".parse().expect("an object id"),
        path: format!("folder-{number}"),
        source: blob(BlobKind::Source),
    }
}

pub(super) fn event(aggregate: Aggregate, event: Event, command: CommandId, actor: Actor) -> NewEvent {
    let origin = Origin { command, actor, correlation: String::new(), causation: None, trace_parent: None };
    NewEvent { aggregate, event, time: chrono::DateTime::UNIX_EPOCH, origin }
}
