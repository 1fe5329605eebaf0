//! Random values of the language: small ranges where values should meet, whole ranges where they should hurt.

mod action;
mod job;
mod people;

use std::collections::BTreeMap;

use events::action::{Definition, Given};
use events::blob::{BlobKind, BlobRef, Sha256};
use events::execution::{self, Counts, Reason};
use events::git::{BranchRef, Oid};
use events::id::{
    ActionId, ExecutionId, JobId, PlanId, PreviewId, RepositoryId, RunnerId, SealingKeyId, SecretId, TokenId,
    UserId,
};
use events::image::ImagePin;
use events::job::{Failure, FailureKind, Limit, LimitName};
use events::log::LogEnd;
use events::secret::{self, Scope, Sealed, SecretName, SecretVersion};
use events::ticket::Workspace;
use events::{Aggregate, Event, enrollment, plan, preview, repository, runner, sealing_key};
use proptest::prelude::*;
use proptest::{collection, option, sample};
use uuid::Uuid;

pub(crate) use action::{action_command, action_event};
pub(crate) use job::{job_command, job_event};
pub(crate) use people::{token_command, token_event, user_command, user_event};

/// Numbers that meet, and now and then one from the edge of the range.
pub(crate) fn number() -> impl Strategy<Value = u32> + Clone {
    prop_oneof![9 => 0..5u32, 1 => sample::select(vec![u32::MAX - 1, u32::MAX])]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-c]", any::<String>()]
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

pub(crate) fn runner_id() -> impl Strategy<Value = RunnerId> {
    "[a-c]|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])".prop_map(|name| name.parse().unwrap())
}

fn sha256() -> impl Strategy<Value = Sha256> {
    any::<[u8; 32]>().prop_map(|bytes| Sha256::from_bytes(&bytes))
}

pub(crate) fn blob() -> impl Strategy<Value = BlobRef> {
    (sample::select(BlobKind::ALL.to_vec()), sha256(), any::<u64>())
        .prop_map(|(kind, sha256, size)| BlobRef { kind, sha256, size })
}

fn oid() -> impl Strategy<Value = Oid> {
    "[0-9a-f]{40}|[0-9a-f]{64}|a{40}".prop_map(|text| text.parse().unwrap())
}

fn branch() -> impl Strategy<Value = BranchRef> {
    "refs/heads/([ab]|[a-z]{1,9}(/[a-z0-9_-]{1,9}){0,2})".prop_map(|text| text.parse().unwrap())
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    collection::btree_map(text(), text(), 0..3)
}

pub(crate) fn log_end() -> impl Strategy<Value = LogEnd> {
    (0..4u64, any::<u64>(), any::<u64>(), sha256()).prop_map(|(chunks, bytes, lines, sha256)| LogEnd {
        chunks,
        bytes,
        lines,
        sha256,
    })
}

fn workspace() -> impl Strategy<Value = Workspace> {
    (text(), text(), branch(), oid(), text(), blob()).prop_map(
        |(repository, url, base_ref, base_oid, path, source)| Workspace {
            repository,
            url,
            base_ref,
            base_oid,
            path,
            source,
        },
    )
}

fn definition() -> impl Strategy<Value = Definition> {
    let given = collection::vec(option::of(text()), 5).prop_map(|mut texts| Given {
        name: texts.remove(0),
        branch: texts.remove(0),
        title: texts.remove(0),
        body: texts.remove(0),
        message: texts.remove(0),
    });
    let given = prop_oneof![Just(Given::default()), given];
    (text(), text(), given, option::of(blob().prop_map(Box::new)))
        .prop_map(|(file_name, source, given, files)| Definition { file_name, source, given, files })
}

pub(crate) fn failure() -> impl Strategy<Value = Failure> {
    use FailureKind::{Image, Infrastructure, Lost, OutOfMemory, Secret, StepExit, Template, Workspace};
    let kinds = vec![
        StepExit,
        Template,
        Image,
        Workspace,
        Secret,
        Lost,
        Infrastructure,
        OutOfMemory,
        FailureKind::Limit,
    ];
    let kind = sample::select(kinds);
    let place = (option::of(number()), option::of(any::<i64>()), option::of(limit()));
    (kind, place, text(), text()).prop_map(|(kind, (step, exit_code, limit), message, hint)| Failure {
        kind,
        step,
        exit_code,
        limit,
        message,
        hint,
    })
}

fn limit() -> impl Strategy<Value = Limit> {
    use LimitName::{ImageBytes, LogBytes, Memory, StepTimeout, Timeout, WorkspaceBytes, WorkspaceFiles};
    let names = vec![Timeout, StepTimeout, Memory, WorkspaceBytes, WorkspaceFiles, ImageBytes, LogBytes];
    (sample::select(names), any::<u64>()).prop_map(|(name, value)| Limit { name, value })
}

pub(crate) fn counts() -> impl Strategy<Value = Counts> {
    (number(), number(), number(), number()).prop_map(|(succeeded, failed, canceled, unreachable)| Counts {
        succeeded,
        failed,
        canceled,
        unreachable,
    })
}

fn requested() -> impl Strategy<Value = execution::Requested> {
    let overrides = (any::<bool>(), option::of(text()));
    (uuid(), text(), number(), definition(), collection::vec(text(), 0..3), overrides).prop_map(
        |(action, action_name, revision, definition, repositories, (no_cache, pool))| execution::Requested {
            action: ActionId::from_uuid(action),
            action_name,
            revision,
            definition,
            repositories,
            reason: Reason::Manual,
            no_cache,
            pool,
        },
    )
}

fn resolved() -> impl Strategy<Value = execution::Resolved> {
    (blob(), number(), number(), number()).prop_map(|(scope, workspaces, skipped, unreachable)| {
        execution::Resolved { scope, workspaces, skipped, unreachable }
    })
}

fn starved() -> impl Strategy<Value = execution::Starved> {
    use execution::Lack::{Draining, Labels, NoRunner, Trouble};
    (text(), sample::select(vec![NoRunner, Labels, Draining, Trouble]), text(), text())
        .prop_map(|(pool, lack, message, hint)| execution::Starved { pool, lack, message, hint })
}

fn images() -> impl Strategy<Value = Vec<ImagePin>> {
    let pin = ("[ab]", text()).prop_map(|(reference, digest)| ImagePin { reference, digest });
    collection::vec(pin, 0..3)
}

fn retry_request() -> impl Strategy<Value = execution::RetryRequested> {
    let one = uuid().prop_map(|job| execution::Selection::One { job: JobId::from_uuid(job) });
    let jobs = prop_oneof![Just(execution::Selection::All), Just(execution::Selection::Failed), one];
    (number(), jobs).prop_map(|(number, jobs)| execution::RetryRequested { number, jobs })
}

/// Any event of an execution.
pub(crate) fn execution_event() -> impl Strategy<Value = execution::Event> {
    let completed = (counts(), any::<bool>()).prop_map(|(counts, canceled)| {
        execution::Completed { outcome: counts.outcome(canceled), counts }.into()
    });
    prop_oneof![
        requested().prop_map(Into::into),
        resolved().prop_map(Into::into),
        images().prop_map(|images| execution::ImagesPinned { images }.into()),
        starved().prop_map(Into::into),
        Just(execution::StarvationEnded {}.into()),
        Just(execution::CancelRequested {}.into()),
        completed,
        retry_request().prop_map(Into::into),
        Just(execution::PlanRequested {}.into()),
    ]
    // Boxed: so many kinds by value are more than a test thread has stack for.
    .boxed()
}

/// Any command to an execution.
pub(crate) fn execution_command() -> impl Strategy<Value = execution::Command> {
    prop_oneof![
        requested().prop_map(execution::Command::Request),
        resolved().prop_map(execution::Command::Resolve),
        images().prop_map(execution::Command::PinImages),
        starved().prop_map(execution::Command::Starve),
        Just(execution::Command::EndStarvation),
        Just(execution::Command::RequestCancel),
        retry_request().prop_map(execution::Command::RequestRetry),
        Just(execution::Command::RequestPlan),
        counts().prop_map(execution::Command::Complete),
    ]
}

fn plan_content() -> impl Strategy<Value = plan::Created> {
    (uuid(), blob(), number(), number(), number(), proptest::option::of(number())).prop_map(
        |(execution, document, changesets, missing, unchanged, imports)| plan::Created {
            execution: ExecutionId::from_uuid(execution),
            document,
            changesets,
            missing,
            unchanged,
            imports,
        },
    )
}

fn plan_id() -> impl Strategy<Value = PlanId> {
    prop_oneof![0..3u128, any::<u128>()].prop_map(|bits| PlanId::from_uuid(Uuid::from_u128(bits)))
}

/// Any event of a plan.
pub(crate) fn plan_event() -> impl Strategy<Value = plan::Event> {
    prop_oneof![plan_content().prop_map(Into::into), plan_id().prop_map(|by| plan::Superseded { by }.into()),]
}

/// Any command to a plan.
pub(crate) fn plan_command() -> impl Strategy<Value = plan::Command> {
    prop_oneof![
        plan_content().prop_map(plan::Command::Create),
        plan_id().prop_map(|by| plan::Command::Supersede { by }),
    ]
}
fn preview_request() -> impl Strategy<Value = preview::Requested> {
    (text(), definition(), collection::vec(text(), 0..3)).prop_map(
        |(action_name, definition, repositories)| preview::Requested {
            action_name,
            definition,
            repositories,
        },
    )
}

fn preview_resolved() -> impl Strategy<Value = preview::Resolved> {
    (blob(), number(), number(), number(), number()).prop_map(
        |(scope, repositories, workspaces, skipped, unreachable)| preview::Resolved {
            scope,
            repositories,
            workspaces,
            skipped,
            unreachable,
        },
    )
}

fn preview_failed() -> impl Strategy<Value = preview::Failed> {
    (text(), text()).prop_map(|(message, hint)| preview::Failed { message, hint })
}

/// Any event of a preview.
pub(crate) fn preview_event() -> impl Strategy<Value = preview::Event> {
    prop_oneof![
        preview_request().prop_map(Into::into),
        preview_resolved().prop_map(Into::into),
        preview_failed().prop_map(Into::into),
    ]
    .boxed()
}

/// Any command to a preview.
pub(crate) fn preview_command() -> impl Strategy<Value = preview::Command> {
    prop_oneof![
        preview_request().prop_map(preview::Command::Request),
        preview_resolved().prop_map(preview::Command::Resolve),
        preview_failed().prop_map(preview::Command::Fail),
    ]
}

fn identity() -> impl Strategy<Value = repository::Registered> {
    (text(), text()).prop_map(|(name, url)| repository::Registered { name, url })
}

fn head() -> impl Strategy<Value = repository::HeadMoved> {
    (branch(), oid()).prop_map(|(branch, oid)| repository::HeadMoved { branch, oid })
}

/// Any event of a repository.
pub(crate) fn repository_event() -> impl Strategy<Value = repository::Event> {
    prop_oneof![
        identity().prop_map(Into::into),
        head().prop_map(Into::into),
        Just(repository::Removed {}.into()),
    ]
}

/// Any command to a repository.
pub(crate) fn repository_command() -> impl Strategy<Value = repository::Command> {
    prop_oneof![
        identity().prop_map(repository::Command::Register),
        head().prop_map(repository::Command::MoveHead),
        Just(repository::Command::Remove),
    ]
}

fn registered() -> impl Strategy<Value = runner::Registered> {
    (0..3u128, number(), text(), labels(), text()).prop_map(|(incarnation, slots, pool, labels, version)| {
        runner::Registered { incarnation: Uuid::from_u128(incarnation), slots, pool, labels, version }
    })
}

/// Any event of a runner.
pub(crate) fn runner_event() -> impl Strategy<Value = runner::Event> {
    prop_oneof![
        registered().prop_map(Into::into),
        Just(runner::Draining {}.into()),
        text().prop_map(|reason| runner::Gone { reason }.into()),
    ]
}

fn enrollment_event() -> impl Strategy<Value = enrollment::Event> {
    prop_oneof![
        (sha256(), 0..4_000_000_000i64, option::of(text()), option::of(labels())).prop_map(
            |(token_sha256, seconds, pool, labels)| {
                let expires_at = events::Timestamp::from_timestamp(seconds, 0).unwrap();
                enrollment::TokenIssued { token_sha256, expires_at, pool, labels }.into()
            }
        ),
        (sha256(), text()).prop_map(|(token_sha256, public_key)| enrollment::Enrolled {
            token_sha256,
            public_key
        }
        .into()),
        Just(enrollment::Revoked {}.into()),
    ]
}

/// Any command to a runner.
pub(crate) fn runner_command() -> impl Strategy<Value = runner::Command> {
    prop_oneof![
        registered().prop_map(runner::Command::Register),
        Just(runner::Command::Drain),
        text().prop_map(|reason| runner::Command::Leave { reason }),
    ]
}

fn secret_name() -> impl Strategy<Value = SecretName> {
    "[AB]|[A-Za-z_][A-Za-z0-9_]{0,127}".prop_map(|name| name.parse().unwrap())
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![Just(Scope::Global), uuid().prop_map(|id| Scope::Action { action: ActionId::from_uuid(id) })]
}

fn secret_version() -> impl Strategy<Value = SecretVersion> {
    (secret_name(), scope(), number()).prop_map(|(name, scope, version)| SecretVersion {
        name,
        scope,
        version,
    })
}

fn sealed() -> impl Strategy<Value = Sealed> {
    (text(), text(), text()).prop_map(|(recipient, sender, sealed)| Sealed { recipient, sender, sealed })
}

/// Any event of a secret.
pub(crate) fn secret_event() -> impl Strategy<Value = secret::Event> {
    prop_oneof![
        3 => (secret_name(), scope(), number(), sealed())
            .prop_map(|(name, scope, version, sealed)| secret::Set { name, scope, version, sealed }.into()),
        1 => Just(secret::Deleted {}.into()),
    ]
}

/// Any command to a secret.
pub(crate) fn secret_command() -> impl Strategy<Value = secret::Command> {
    prop_oneof![
        2 => (secret_name(), scope(), sealed())
            .prop_map(|(name, scope, sealed)| secret::Command::Set { name, scope, sealed }),
        1 => Just(secret::Command::Delete),
    ]
}

/// Any event of the sealing key.
pub(crate) fn sealing_key_event() -> impl Strategy<Value = sealing_key::Event> {
    text().prop_map(|public_key| sealing_key::Announced { public_key }.into())
}

/// Any command to the sealing key.
pub(crate) fn sealing_key_command() -> impl Strategy<Value = sealing_key::Command> {
    text().prop_map(|public_key| sealing_key::Command::Announce { public_key })
}

/// Any event with an aggregate that it may belong to.
pub(crate) fn any_event() -> impl Strategy<Value = (Aggregate, Event)> {
    prop_oneof![
        (uuid(), action_event())
            .prop_map(|(id, event)| (Aggregate::Action(ActionId::from_uuid(id)), Event::Action(event))),
        (uuid(), execution_event()).prop_map(|(id, event)| (
            Aggregate::Execution(ExecutionId::from_uuid(id)),
            Event::Execution(event)
        )),
        (uuid(), uuid(), job_event()).prop_map(|(execution, id, event)| {
            let aggregate = Aggregate::Job(ExecutionId::from_uuid(execution), JobId::from_uuid(id));
            (aggregate, Event::Job(event))
        }),
        (plan_id(), plan_event()).prop_map(|(id, event)| (Aggregate::Plan(id), Event::Plan(event))),
        (uuid(), preview_event())
            .prop_map(|(id, event)| (Aggregate::Preview(PreviewId::from_uuid(id)), Event::Preview(event))),
        (uuid(), repository_event()).prop_map(|(id, event)| {
            (Aggregate::Repository(RepositoryId::from_uuid(id)), Event::Repository(event))
        }),
        (runner_id(), runner_event()).prop_map(|(id, event)| (Aggregate::Runner(id), Event::Runner(event))),
        sealing_key_event()
            .prop_map(|event| (Aggregate::SealingKey(SealingKeyId::site()), Event::SealingKey(event))),
        (uuid(), secret_event())
            .prop_map(|(id, event)| (Aggregate::Secret(SecretId::from_uuid(id)), Event::Secret(event))),
        (runner_id(), enrollment_event())
            .prop_map(|(id, event)| (Aggregate::Enrollment(id), Event::Enrollment(event))),
        (uuid(), user_event())
            .prop_map(|(id, event)| (Aggregate::User(UserId::from_uuid(id)), Event::User(event))),
        (uuid(), token_event())
            .prop_map(|(id, event)| (Aggregate::Token(TokenId::from_uuid(id)), Event::Token(event))),
    ]
}
