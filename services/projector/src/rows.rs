//! The rows of the projection, one struct a table, as `migrations/generation.sql` has them.
//!
//! Owns which columns there are and which of them are the key. Never knows an event. Invariant: the columns stand in the
//! order of the migration; a test compares the two.

use events::Timestamp;
use events::id::{ActionId, ExecutionId, JobId, PlanId, RepositoryId, RunnerId, SecretId, TokenId, UserId};
use sqlx::any::{AnyArguments, AnyRow};

use crate::columns::{Column, Kind, Word, bind, read};

/// A table, for statements that treat all alike.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// In order, the key first.
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// How many columns make the key.
    pub(crate) key: usize,
}

impl Table {
    /// The columns' names in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|(name, _)| *name)
    }

    /// The names of the key's columns.
    pub(crate) fn key_names(&self) -> impl Iterator<Item = &'static str> {
        self.names().take(self.key)
    }
}

/// A row of one table.
pub(crate) trait Row: Clone + Send + Sync {
    const TABLE: Table;
    type Key: Clone + Eq + std::hash::Hash + Send + Sync;

    fn key(&self) -> Self::Key;
    fn bind(&self, to: &mut AnyArguments) -> sqlx::Result<()>;
    fn bind_key(key: &Self::Key, to: &mut AnyArguments) -> sqlx::Result<()>;
    fn read(row: &AnyRow) -> sqlx::Result<Self>;
}

macro_rules! tables {
    ($($(#[$doc:meta])+ $row:ident in $table:literal {
        $($key:ident: $key_type:ty,)+ ;
        $($field:ident: $type:ty,)+
    })+) => {
        $($(#[$doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $row {
            $(pub(crate) $key: $key_type,)+
            $(pub(crate) $field: $type,)+
        }

        impl Row for $row {
            const TABLE: Table = Table {
                name: $table,
                columns: &[
                    $((stringify!($key), <$key_type as Column>::KIND),)+
                    $((stringify!($field), <$type as Column>::KIND),)+
                ],
                key: [$(stringify!($key)),+].len(),
            };
            type Key = ($($key_type,)+);

            fn key(&self) -> Self::Key {
                ($(self.$key.clone(),)+)
            }

            fn bind(&self, to: &mut AnyArguments) -> sqlx::Result<()> {
                $(bind(&self.$key, to)?;)+
                $(bind(&self.$field, to)?;)+
                Ok(())
            }

            fn bind_key(key: &Self::Key, to: &mut AnyArguments) -> sqlx::Result<()> {
                let ($($key,)+) = key;
                $(bind($key, to)?;)+
                Ok(())
            }

            fn read(row: &AnyRow) -> sqlx::Result<Self> {
                let mut index = 0..;
                let mut next = || index.next().unwrap_or(usize::MAX);
                Ok(Self {
                    $($key: read(row, next())?,)+
                    $($field: read(row, next())?,)+
                })
            }
        })+

        /// Every table of a generation.
        pub(crate) const TABLES: &[Table] = &[$(<$row as Row>::TABLE),+];
    };
}

tables! {
    /// An action as it is now.
    Action in "actions" {
        id: ActionId, ;
        name: String,
        description: String,
        revision: u32,
        archived: bool,
        executions: i64,
        schedule_cron: Option<String>,
        schedule_time_zone: Option<String>,
        schedule_set_at: Option<Timestamp>,
        schedule_set_by: Option<String>,
        saved_search: Option<String>,
        campaign: Option<String>,
        created_at: Timestamp,
        updated_at: Timestamp,
        updated_sequence: u64,
    }

    /// A definition that an action had or has.
    ActionRevision in "action_revisions" {
        action_id: ActionId, revision: u32, ;
        file_name: String,
        source: String,
        given: String,
        files_sha256: Option<String>,
        files_size: Option<u64>,
        actor: String,
        created_at: Timestamp,
    }

    /// An execution, with its jobs counted.
    Execution in "executions" {
        id: ExecutionId, ;
        action_id: ActionId,
        action_name: String,
        revision: u32,
        reason: Word,
        actor: String,
        state: Word,
        cancel_requested: bool,
        requested_at: Timestamp,
        resolved_at: Option<Timestamp>,
        completed_at: Option<Timestamp>,
        requested_sequence: u64,
        workspaces: u32,
        skipped: u32,
        unreachable: u32,
        queued: i64,
        running: i64,
        succeeded: i64,
        failed: i64,
        canceled: i64,
        starved_since: Option<Timestamp>,
        starved_pool: Option<String>,
        starved_lack: Option<Word>,
        starved_message: Option<String>,
        starved_hint: Option<String>,
        retries: u32,
        plan_id: Option<PlanId>,
        plan_is_current: bool,
    }

    /// A repository that got no job.
    ExecutionSkip in "execution_skips" {
        execution_id: ExecutionId, position: u64, ;
        repository: String,
        reason: Word,
        message: String,
    }

    /// A job, with what its last attempt came to.
    Job in "jobs" {
        id: JobId, ;
        execution_id: ExecutionId,
        repository: String,
        url: String,
        base_ref: String,
        base_oid: String,
        path: String,
        state: Word,
        attempt: u32,
        runner_id: Option<RunnerId>,
        cancel_requested: bool,
        retry_at: Option<Timestamp>,
        failure_origin: Option<Word>,
        failure_kind: Option<Word>,
        failure_step: Option<u32>,
        failure_exit_code: Option<i64>,
        failure_message: Option<String>,
        failure_hint: Option<String>,
        failure_limit: Option<Word>,
        failure_limit_value: Option<u64>,
        patch_sha256: Option<String>,
        patch_size: Option<u64>,
        files: Option<u32>,
        insertions: Option<u64>,
        deletions: Option<u64>,
        queued_at: Timestamp,
        started_at: Option<Timestamp>,
        ended_at: Option<Timestamp>,
        updated_sequence: u64,
    }

    /// One attempt at a job.
    Attempt in "attempts" {
        job_id: JobId, number: u32, ;
        execution_id: ExecutionId,
        runner_id: RunnerId,
        state: Word,
        reason: Option<String>,
        failure_origin: Option<Word>,
        loss_cause: Option<Word>,
        assigned_at: Timestamp,
        started_at: Option<Timestamp>,
        ended_at: Option<Timestamp>,
        patch_sha256: Option<String>,
        patch_size: Option<u64>,
        files: Option<u32>,
        insertions: Option<u64>,
        deletions: Option<u64>,
        outputs: Option<String>,
        log_chunks: Option<u64>,
        log_bytes: Option<u64>,
        log_lines: Option<u64>,
        log_sha256: Option<String>,
        sealed_sha256: Option<String>,
        sealed_size: Option<u64>,
        secrets: String,
        reused_step: Option<u32>,
        reused_execution_id: Option<ExecutionId>,
        reused_job_id: Option<JobId>,
    }

    /// One step of an attempt.
    Step in "steps" {
        job_id: JobId, attempt: u32, number: u32, ;
        started_at: Timestamp,
        skipped: bool,
        exit_code: Option<i64>,
        duration_ms: Option<u64>,
    }

    /// A plan.
    Plan in "plans" {
        id: PlanId, ;
        execution_id: ExecutionId,
        state: Word,
        superseded_by: Option<PlanId>,
        changesets: u32,
        missing: u32,
        unchanged: u32,
        imports: Option<u32>,
        created_at: Timestamp,
        document_sha256: String,
        document_size: u64,
    }

    /// What one pull request would be.
    ChangesetSpec in "changeset_specs" {
        plan_id: PlanId, position: u64, ;
        job_id: JobId,
        repository: String,
        url: String,
        base_ref: String,
        base_oid: String,
        head_ref: String,
        title: String,
        body: String,
        message: String,
        author: Option<String>,
        fork: Option<bool>,
        publication: Word,
        patch_sha256: String,
        patch_size: u64,
        files: u32,
        insertions: u64,
        deletions: u64,
    }

    /// A repository that should be in a plan and is not.
    PlanMissing in "plan_missing" {
        plan_id: PlanId, position: u64, ;
        job_id: Option<JobId>,
        repository: String,
        reason: String,
    }

    /// A repository that is as the action wants it.
    PlanUnchanged in "plan_unchanged" {
        plan_id: PlanId, position: u64, ;
        job_id: Option<JobId>,
        repository: String,
        reason: String,
    }

    /// A changeset that exists already and is to be tracked.
    PlanImport in "plan_imports" {
        plan_id: PlanId, position: u64, ;
        repository: String,
        external_id: String,
    }

    /// A repository that is known.
    Repository in "repositories" {
        id: RepositoryId, ;
        name: String,
        url: String,
        registered_at: Timestamp,
    }

    /// Where a branch was last seen.
    RepositoryHead in "repository_heads" {
        repository_id: RepositoryId, branch: String, ;
        oid: String,
        moved_at: Timestamp,
    }

    /// A runner.
    Runner in "runners" {
        id: RunnerId, ;
        state: Word,
        slots: u32,
        pool: String,
        labels: String,
        version: String,
        incarnation: String,
        since: Timestamp,
        reason: Option<String>,
    }

    /// Who may connect as a runner.
    Enrollment in "enrollments" {
        id: RunnerId, ;
        state: Word,
        since: Timestamp,
        token_expires_at: Option<Timestamp>,
    }

    /// A secret, without its value.
    Secret in "secrets" {
        id: SecretId, ;
        name: String,
        scope: String,
        version: u32,
        deleted: bool,
        actor: String,
        set_at: Timestamp,
    }

    /// A user, without the password.
    User in "users" {
        id: UserId, ;
        name: String,
        role: Word,
        removed: bool,
        actor: String,
        created_at: Timestamp,
        password_set_at: Option<Timestamp>,
        issuer: Option<String>,
        subject: Option<String>,
    }

    /// A token of a user; of the token itself its digest.
    Token in "tokens" {
        id: TokenId, ;
        user_id: UserId,
        name: String,
        kind: Word,
        token_sha256: String,
        role: Word,
        issued_at: Timestamp,
        expires_at: Timestamp,
        revoked_at: Option<Timestamp>,
    }

    /// How long a list is that has nothing to belong to.
    Total in "totals" {
        name: String, ;
        count: i64,
    }
}

impl Total {
    pub(crate) const ACTIONS: &str = "actions";
    pub(crate) const ARCHIVED_ACTIONS: &str = "actions.archived";
    pub(crate) const EXECUTIONS: &str = "executions";
    pub(crate) const REPOSITORIES: &str = "repositories";
    pub(crate) const RUNNERS: &str = "runners";
    /// Without those that were deleted.
    pub(crate) const SECRETS: &str = "secrets";
    /// Without those that were removed.
    pub(crate) const USERS: &str = "users";

    /// Those in this state.
    pub(crate) fn executions_in(state: &str) -> String {
        format!("{}.{state}", Self::EXECUTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the migration says of a table: name, columns with kind and nullability, key.
    fn declared(table: &Table) -> String {
        let mut text = format!("CREATE TABLE {}{{g}} (", table.name);
        for (name, kind) in table.columns {
            let kind = match kind {
                Kind::Text => "TEXT",
                Kind::Integer => "BIGINT",
            };
            text.push_str(&format!("\n    {name} {kind}"));
        }
        let key: Vec<&str> = table.key_names().collect();
        text.push_str(&format!("\n    PRIMARY KEY ({})\n);", key.join(", ")));
        text
    }

    #[test]
    fn the_migration_declares_these_columns_in_this_order() {
        let migration: String = include_str!("../../../migrations/generation.sql")
            .lines()
            .map(|line| line.split(" --").next().unwrap_or_default().trim_end().trim_end_matches(','))
            .map(|line| format!("{}\n", line.trim_end_matches(" NOT NULL")))
            .collect();
        for table in TABLES {
            let declared = declared(table);
            assert!(migration.contains(&declared), "not in the migration:\n{declared}");
        }
        assert_eq!(migration.matches("CREATE TABLE").count(), TABLES.len());
    }
}
