//! The service on a real broker and a real engine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is the test's failure")]

mod attacks;
mod faults;
mod images;
mod jobs;
mod limits;
mod mounts;
mod registry;
mod reuse;
mod secrets;
mod world;

use events::action::{Definition, Given};
use events::blob::{BlobKind, BlobRef, Sha256};
use events::id::{ExecutionId, JobId};
use events::ticket::{Ticket, Workspace};
use uuid::Uuid;

/// A ticket for this attempt at a job that nobody can run.
pub(crate) fn ticket_for(attempt: u32) -> Ticket {
    let source = BlobRef { kind: BlobKind::Source, sha256: Sha256::from_bytes(&[7; 32]), size: 1 };
    Ticket {
        execution: ExecutionId::from_uuid(Uuid::from_u128(7_000)),
        job: JobId::from_uuid(Uuid::from_u128(9_000_000)),
        attempt,
        definition: Definition {
            file_name: "x.batch.yaml".to_owned(),
            source: "name: x".to_owned(),
            given: Given::default(),
            files: None,
        },
        workspace: Workspace {
            repository: "example.org/fixture".to_owned(),
            url: "/nowhere".to_owned(),
            base_ref: "refs/heads/main".parse().unwrap(),
            base_oid: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            path: String::new(),
            source,
        },
        timeout_ms: 60_000,
        secrets: Vec::new(),
        images: Vec::new(),
        reuse: None,
    }
}
