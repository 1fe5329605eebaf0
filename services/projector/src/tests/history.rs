//! Plausible histories: what `decide` lets happen to a handful of everything, in any order.

mod actions;
mod people;

use std::collections::BTreeMap;

use events::action::{self, Definition, Given};
use events::blob::{BlobKind, BlobRef, Sha256};
use events::document::{self, SkipReason};
use events::enrollment::{self, Enrolled, TokenIssued};
use events::envelope::{Actor, NewEvent, Origin, Recorded};
use events::execution::{self, Counts, Reason};
use events::id::{
    ActionId, CommandId, ExecutionId, JobId, PlanId, RepositoryId, RunnerId, SealingKeyId, SecretId, TokenId,
    UserId,
};
use events::job::{
    self, DiffStat, Failure, FailureKind, StepFinished, StepSkipped, StepStarted, Succeeded, TimedOut,
};
use events::log::LogEnd;
use events::secret::{self, Scope, Sealed, SecretVersion};
use events::ticket::Workspace;
use events::{Aggregate, Event, Timestamp, plan, repository, runner, sealing_key, token, user};
use uuid::Uuid;

use crate::fold::{Document, Taken};

/// Numbers that look random and are the same each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `end`.
    pub(crate) fn roll(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn digest(&mut self) -> Sha256 {
        format!("{:064x}", self.roll(usize::MAX)).parse().unwrap()
    }
}

/// A history under way.
pub(crate) struct History {
    dice: Dice,
    pub(crate) taken: Vec<Taken>,
    actions: BTreeMap<ActionId, action::Action>,
    executions: BTreeMap<ExecutionId, execution::Execution>,
    jobs: BTreeMap<JobId, (ExecutionId, job::Job)>,
    plans: BTreeMap<PlanId, plan::Plan>,
    repositories: BTreeMap<RepositoryId, repository::Repository>,
    runners: BTreeMap<RunnerId, runner::Runner>,
    enrollments: BTreeMap<RunnerId, enrollment::Enrollment>,
    secrets: BTreeMap<SecretId, secret::Secret>,
    users: BTreeMap<UserId, user::User>,
    tokens: BTreeMap<TokenId, token::Token>,
}

/// A history of this many decisions.
pub(crate) fn history(seed: u64, decisions: usize) -> Vec<Taken> {
    let mut history = History {
        dice: Dice::new(seed),
        taken: Vec::new(),
        actions: BTreeMap::new(),
        executions: BTreeMap::new(),
        jobs: BTreeMap::new(),
        plans: BTreeMap::new(),
        repositories: BTreeMap::new(),
        runners: BTreeMap::new(),
        enrollments: BTreeMap::new(),
        secrets: BTreeMap::new(),
        users: BTreeMap::new(),
        tokens: BTreeMap::new(),
    };
    for _ in 0..decisions {
        history.decide();
    }
    history.taken
}

impl History {
    fn decide(&mut self) {
        match self.dice.roll(20) {
            0 => self.action(),
            1 => self.request(),
            2 => self.resolve(),
            3 => self.end_execution(),
            4 => self.plan(),
            5 | 6 => self.repository(),
            7 => self.runner(),
            8 => self.secret(),
            9 => self.go_on(),
            10 => self.enrollment(),
            11 => self.user(),
            12 => self.token(),
            _ => self.job(),
        }
    }

    fn record(&mut self, aggregate: Aggregate, event: Event, document: Option<Document>) {
        let sequence = self.taken.len() as u64 + 1;
        let command = CommandId::derived(&["test", &sequence.to_string()]);
        let time: Timestamp = "2026-03-04T05:06:07.000009Z".parse().unwrap();
        let new = NewEvent {
            aggregate,
            event,
            time: time + chrono::Duration::milliseconds(i64::try_from(sequence).unwrap() * 137),
            origin: Origin {
                command,
                actor: Actor::user(["anna", "b\u{f6}b"][self.dice.roll(2)]),
                correlation: "test".to_owned(),
                causation: None,
                trace_parent: None,
            },
        };
        let id = new.id();
        let NewEvent { aggregate, event, time, origin } = new;
        let (actor, correlation, causation) = (origin.actor, origin.correlation, None);
        let recorded = Recorded { sequence, id, time, actor, correlation, causation, aggregate, event };
        self.taken.push(Taken { recorded, document });
    }

    fn request(&mut self) {
        if self.actions.get(&ActionId::named("tidy")).is_none_or(|action| action.revision == 0) {
            return;
        }
        let id = ExecutionId::from_uuid(Uuid::from_u128(self.dice.roll(usize::MAX) as u128));
        let requested = execution::Requested {
            action: ActionId::named("tidy"),
            action_name: "tidy".to_owned(),
            revision: 1,
            definition: Definition {
                file_name: "a.batch.yaml".to_owned(),
                source: "name: tidy\n".to_owned(),
                given: Given::default(),
                files: None,
            },
            repositories: Vec::new(),
            reason: Reason::Manual,
            no_cache: false,
            pool: None,
        };
        self.execution(id, execution::Command::Request(requested), None);
    }

    fn execution(&mut self, id: ExecutionId, command: execution::Command, document: Option<Document>) {
        let state = self.executions.entry(id).or_default();
        if let Ok(Some(event)) = execution::decide(state, command) {
            *state = execution::evolve(std::mem::take(state), &event);
            self.record(Aggregate::Execution(id), Event::Execution(event), document);
        }
    }

    /// One of the executions that have come so far and no further.
    fn some_execution(&mut self, like: fn(&execution::Execution) -> bool) -> Option<ExecutionId> {
        let alike: Vec<ExecutionId> =
            self.executions.iter().filter(|(_, state)| like(state)).map(|(id, _)| *id).collect();
        let number = self.dice.roll(alike.len().max(1));
        alike.get(number).copied()
    }

    fn resolve(&mut self) {
        let Some(id) = self.some_execution(|execution| execution.resolved.is_none()) else { return };
        let reasons = [SkipReason::Unreachable, SkipReason::Empty, SkipReason::NoBranch, SkipReason::Ignored];
        let skipped = (0..self.dice.roll(4))
            .map(|number| document::Skipped {
                repository: format!("r{number}"),
                reason: reasons[number],
                message: "look at it".to_owned(),
            })
            .collect();
        let workspaces: Vec<Workspace> =
            (0..self.dice.roll(6)).map(|number| self.workspace(number)).collect();
        let scope = document::Scope { workspaces: workspaces.clone(), skipped };
        let resolved = execution::Resolved {
            scope: BlobRef { kind: BlobKind::Scope, sha256: self.dice.digest(), size: 100 },
            workspaces: u32::try_from(workspaces.len()).unwrap(),
            skipped: u32::try_from(scope.skipped.len()).unwrap(),
            unreachable: 1,
        };
        self.execution(id, execution::Command::Resolve(resolved), Some(Document::Scope(scope)));
        for (number, workspace) in workspaces.into_iter().enumerate() {
            let job = JobId::derived(&[&id.to_string(), &number.to_string()]);
            self.command_job(job, id, job::Command::Queue(workspace));
        }
    }

    fn workspace(&mut self, number: usize) -> Workspace {
        Workspace {
            repository: format!("Repo-{}", (number * 7) % 5),
            url: format!("https://example.org/{number}"),
            base_ref: "refs/heads/main".parse().unwrap(),
            base_oid: format!("{:040x}", self.dice.roll(usize::MAX)).parse().unwrap(),
            path: String::new(),
            source: BlobRef { kind: BlobKind::Source, sha256: self.dice.digest(), size: 5 },
        }
    }

    fn go_on(&mut self) {
        let Some(id) = self.some_execution(|execution| execution.completed.is_some()) else { return };
        let command = match self.dice.roll(3) {
            0 => execution::Command::RequestPlan,
            number => execution::Command::RequestRetry(execution::RetryRequested {
                number: self.executions[&id].retries + 1,
                jobs: if number == 1 { execution::Selection::All } else { execution::Selection::Failed },
            }),
        };
        self.execution(id, command, None);
    }

    fn end_execution(&mut self) {
        let under_way =
            |execution: &execution::Execution| execution.resolved.is_some() && execution.completed.is_none();
        let Some(id) = self.some_execution(under_way) else { return };
        let command = match self.dice.roll(5) {
            0 => execution::Command::RequestCancel,
            1 => match self.dice.roll(2) {
                0 => execution::Command::EndStarvation,
                _ => execution::Command::Starve(execution::Starved {
                    pool: "gpu".to_owned(),
                    lack: execution::Lack::NoRunner,
                    message: "there is no runner in pool gpu".to_owned(),
                    hint: "start one".to_owned(),
                }),
            },
            _ if self.jobs.values().any(|(execution, job)| *execution == id && job.outcome().is_none()) => {
                return;
            }
            number => execution::Command::Complete(Counts {
                succeeded: 3,
                failed: u32::try_from(number).unwrap() - 1,
                ..Counts::default()
            }),
        };
        self.execution(id, command, None);
    }

    fn plan(&mut self) {
        let Some(execution) = self.some_execution(|execution| execution.completed.is_some()) else { return };
        let id = PlanId::derived(&[&execution.to_string(), &self.dice.roll(2).to_string()]);
        let older: Vec<PlanId> = self.plans.keys().copied().filter(|older| *older != id).collect();
        let document = self.plan_document();
        let created = plan::Created {
            execution,
            document: BlobRef { kind: BlobKind::Plan, sha256: self.dice.digest(), size: 77 },
            changesets: u32::try_from(document.changeset_specs.len()).unwrap(),
            missing: 1,
            unchanged: 1,
            imports: document.changeset_specs.len().is_multiple_of(2).then_some(1),
        };
        self.command_plan(id, plan::Command::Create(created), Some(Document::Plan(document)));
        if let Some(older) = older.first() {
            self.command_plan(*older, plan::Command::Supersede { by: id }, None);
        }
    }

    fn command_plan(&mut self, id: PlanId, command: plan::Command, document: Option<Document>) {
        let state = self.plans.entry(id).or_default();
        if let Ok(Some(event)) = plan::decide(state, command) {
            *state = plan::evolve(std::mem::take(state), &event);
            self.record(Aggregate::Plan(id), Event::Plan(event), document);
        }
    }

    fn plan_document(&mut self) -> document::Plan {
        let job = JobId::derived(&["plan"]);
        let spec = |sha256: Sha256| document::ChangesetSpec {
            job,
            repository: "r".to_owned(),
            url: "/r".to_owned(),
            base_ref: "refs/heads/main".parse().unwrap(),
            base_oid: "a".repeat(40).parse().unwrap(),
            head_ref: "refs/heads/change".parse().unwrap(),
            title: "'; DROP TABLE jobs; --".to_owned(),
            body: String::new(),
            message: "nul \u{0} in it".to_owned(),
            author: None,
            fork: Some(true),
            publication: document::Publication::Draft,
            patch: BlobRef { kind: BlobKind::Patch, sha256, size: 4 },
            diff_stat: DiffStat { files: 1, insertions: u64::MAX, deletions: 3 },
        };
        let repository = "m".to_owned();
        let reason = "failed".to_owned();
        document::Plan {
            changeset_specs: (0..self.dice.roll(4)).map(|_| spec(self.dice.digest())).collect(),
            missing: vec![document::Missing {
                job: None,
                repository: repository.clone(),
                reason: reason.clone(),
            }],
            unchanged: vec![document::Unchanged { job: Some(job), repository: repository.clone(), reason }],
            imports: vec![document::Import { repository: repository.clone(), external_id: "7".to_owned() }],
        }
    }

    fn repository(&mut self) {
        let url = format!("https://example.org/{}", self.dice.roll(3));
        let id = RepositoryId::derived(&[&url]);
        let number = self.dice.roll(8);
        let command = match number {
            0 => repository::Command::Remove,
            1 | 2 => {
                repository::Command::Register(repository::Registered { name: format!("r{number}"), url })
            }
            _ => repository::Command::MoveHead(repository::HeadMoved {
                branch: format!("refs/heads/b{number}").parse().unwrap(),
                oid: format!("{:040x}", self.dice.roll(usize::MAX)).parse().unwrap(),
            }),
        };
        let state = self.repositories.entry(id).or_default();
        if let Ok(Some(event)) = repository::decide(state, command) {
            *state = repository::evolve(std::mem::take(state), &event);
            self.record(Aggregate::Repository(id), Event::Repository(event), None);
        }
    }

    fn runner(&mut self) {
        let id: RunnerId = ["local", "spare"][self.dice.roll(2)].parse().unwrap();
        let number = self.dice.roll(4);
        let command = match number {
            0 => runner::Command::Drain,
            1 => runner::Command::Leave { reason: "silent".to_owned() },
            _ => runner::Command::Register(runner::Registered {
                incarnation: Uuid::from_u128(number as u128),
                slots: 2,
                pool: "gpu".to_owned(),
                labels: [("os".to_owned(), "linux".to_owned())].into(),
                version: "0.1.0".to_owned(),
            }),
        };
        let state = self.runners.entry(id.clone()).or_default();
        if let Ok(Some(event)) = runner::decide(state, command) {
            *state = runner::evolve(std::mem::take(state), &event);
            self.record(Aggregate::Runner(id), Event::Runner(event), None);
        }
    }

    fn enrollment(&mut self) {
        let id: RunnerId = ["local", "north"][self.dice.roll(2)].parse().unwrap();
        let now: Timestamp = "2026-03-04T05:06:07Z".parse().unwrap();
        let state = self.enrollments.entry(id.clone()).or_default();
        let out = state.token.as_ref().map(|issued| issued.token_sha256.clone());
        let command = match (self.dice.roll(9), out) {
            (0, _) => enrollment::Command::Revoke,
            (1..5, Some(token_sha256)) => {
                enrollment::Command::Enroll(Enrolled { token_sha256, public_key: "U".to_owned() })
            }
            (hours, _) => enrollment::Command::IssueToken(TokenIssued {
                token_sha256: self.dice.digest(),
                expires_at: now + chrono::Duration::hours(i64::try_from(hours).unwrap()),
                pool: None,
                labels: None,
            }),
        };
        if let Ok(Some(event)) = enrollment::decide(state, command, now) {
            *state = enrollment::evolve(std::mem::take(state), &event);
            self.record(Aggregate::Enrollment(id), Event::Enrollment(event), None);
        }
    }

    fn secret(&mut self) {
        let name = ["TOKEN", "KEY"][self.dice.roll(2)].parse().unwrap();
        let scope = [Scope::Global, Scope::Action { action: ActionId::named("a") }][self.dice.roll(2)];
        let id = SecretId::of(&scope, &name);
        let public_key = format!("X{}", self.dice.roll(usize::MAX));
        let command = match self.dice.roll(4) {
            0 => secret::Command::Delete,
            1 => {
                let announced = sealing_key::Announced { public_key };
                let event = Event::SealingKey(announced.into());
                return self.record(Aggregate::SealingKey(SealingKeyId::site()), event, None);
            }
            _ => {
                let (recipient, sender, sealed) = (public_key, "X".to_owned(), "AAAA".to_owned());
                secret::Command::Set { name, scope, sealed: Sealed { recipient, sender, sealed } }
            }
        };
        let state = self.secrets.entry(id).or_default();
        if let Ok(Some(event)) = secret::decide(state, command) {
            *state = secret::evolve(std::mem::take(state), &event);
            self.record(Aggregate::Secret(id), Event::Secret(event), None);
        }
    }

    fn job(&mut self) {
        let number = self.dice.roll(self.jobs.len().max(1));
        let Some((id, (execution, job))) = self.jobs.iter().nth(number).map(|(id, job)| (*id, job.clone()))
        else {
            return;
        };
        let command = self.job_command(&job);
        self.command_job(id, execution, command);
    }

    fn job_command(&mut self, job: &job::Job) -> job::Command {
        let attempt = job.attempt;
        let end = self.dice.roll(50) as u64;
        let log = LogEnd { chunks: end, bytes: end, lines: end, sha256: self.dice.digest() };
        let runner: RunnerId = ["local", "spare"][self.dice.roll(2)].parse().unwrap();
        match self.dice.roll(25) {
            0..6 => {
                let name = "TOKEN".parse().unwrap();
                let used = SecretVersion { name, scope: Scope::Global, version: attempt + 7 };
                job::Command::Assign { attempt: attempt + 1, runner, secrets: vec![used] }
            }
            6..11 => job::Command::Start { attempt },
            11 if end.is_multiple_of(3) => {
                job::Command::SkipStep(StepSkipped { attempt, step: job.step_finished + 1 })
            }
            11 | 12 => job::Command::StartStep(StepStarted { attempt, step: job.step_finished + 1 }),
            13 | 14 => {
                let (exit_code, duration_ms) = (-1, end);
                let step = job.step_started;
                job::Command::FinishStep(StepFinished { attempt, step, exit_code, duration_ms })
            }
            15 | 16 => {
                let patch = BlobRef { kind: BlobKind::Patch, sha256: self.dice.digest(), size: end };
                let (patch, diff_stat) = (end.is_multiple_of(2).then_some(patch), DiffStat::default());
                job::Command::Succeed(Succeeded {
                    attempt,
                    patch,
                    diff_stat,
                    outputs: [("version".to_owned(), end.into())].into(),
                    log,
                })
            }
            17 => job::Command::Fail { attempt, failure: failure(), log },
            18 => job::Command::TimeOut(TimedOut { attempt, limit_ms: 3_600_000, step: None, log }),
            19 => {
                let now = "2026-03-04T05:06:07.000009Z".parse().unwrap();
                let reason = "silent".to_owned();
                let cause = if end < 25 { job::LossCause::Runner } else { job::LossCause::Drained };
                job::Command::Lose(job::Loss { attempt, cause, reason, now })
            }
            20 if job.state == job::State::Queued => {
                let reason = "no runner".to_owned();
                job::Command::TimeOutQueued(job::QueueTimedOut { limit_ms: 9_000, reason })
            }
            20 => job::Command::Return { attempt, reason: "it drains".to_owned() },
            23 => job::Command::RequestCancel,
            21 if job.cancel_requested => {
                let attempt = job.runner().map(|_| attempt);
                job::Command::Cancel(job::Canceled { attempt, log: attempt.map(|_| log) })
            }
            22 => job::Command::Retry,
            _ => {
                let blob = BlobRef { kind: BlobKind::Log, sha256: self.dice.digest(), size: end };
                job::Command::SealLog { attempt, blob, log }
            }
        }
    }

    fn command_job(&mut self, id: JobId, execution: ExecutionId, command: job::Command) {
        let (_, state) = self.jobs.entry(id).or_insert_with(|| (execution, job::Job::default()));
        if let Ok(Some(event)) = job::decide(state, command) {
            *state = job::evolve(std::mem::take(state), &event);
            self.record(Aggregate::Job(execution, id), Event::Job(event), None);
        }
    }
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::StepExit,
        step: Some(2),
        exit_code: Some(137),
        limit: None,
        message: "step 2 ended with 137".to_owned(),
        hint: String::new(),
    }
}
