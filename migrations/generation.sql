-- The tables of one generation of the projection. A template: the projector puts the generation's suffix (`_g3`) in place
-- of {g}, and points views without suffix (`jobs`) at the live generation. Readers use the views alone.
--
-- Portable SQL, the same text on SQLite and PostgreSQL: TEXT and BIGINT only.
-- - A truth value is BIGINT, 0 or 1: sqlx's `Any` driver refuses to read a BOOLEAN column of SQLite.
-- - A time is RFC 3339 text with microseconds and `Z`, so that it sorts as text.
-- - TEXT sorts by its bytes on both: on PostgreSQL the projector says `TEXT COLLATE "C"` instead of TEXT.
-- - A U+0000 inside a text is stored as U+FFFD: PostgreSQL cannot hold it.
-- - The primary key stands first in each table, in its order.
--
-- There are no migrations between layouts: whoever changes this file raises the number in `layout` beside it, and a
-- rebuild makes the new tables from the log.

CREATE TABLE actions{g} (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    revision BIGINT NOT NULL,
    archived BIGINT NOT NULL,
    executions BIGINT NOT NULL, -- how many there were of it
    schedule_cron TEXT, -- when it is to run; archived: never
    schedule_time_zone TEXT,
    schedule_set_at TEXT,
    schedule_set_by TEXT,
    saved_search TEXT, -- a name; archived: none
    campaign TEXT, -- a name
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    updated_sequence BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX actions{g}_newest ON actions{g} (updated_sequence);
CREATE INDEX actions{g}_archived ON actions{g} (archived, updated_sequence);
CREATE INDEX actions{g}_name ON actions{g} (name);
CREATE INDEX actions{g}_archived_name ON actions{g} (archived, name);

CREATE TABLE action_revisions{g} (
    action_id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    file_name TEXT NOT NULL,
    source TEXT NOT NULL,
    given TEXT NOT NULL, -- JSON, an events::action::Given
    files_sha256 TEXT, -- the blob of kind `files`; nothing: no step mounts any
    files_size BIGINT,
    actor TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (action_id, revision)
);

CREATE TABLE executions{g} (
    id TEXT NOT NULL,
    action_id TEXT NOT NULL,
    action_name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    reason TEXT NOT NULL, -- manual
    actor TEXT NOT NULL,
    state TEXT NOT NULL, -- requested, running, succeeded, partially_failed, failed, canceled
    cancel_requested BIGINT NOT NULL,
    requested_at TEXT NOT NULL,
    resolved_at TEXT,
    completed_at TEXT,
    requested_sequence BIGINT NOT NULL,
    workspaces BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    unreachable BIGINT NOT NULL,
    queued BIGINT NOT NULL, -- its jobs by state; running counts the assigned ones too
    running BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    canceled BIGINT NOT NULL,
    starved_since TEXT, -- while its jobs wait in vain
    starved_pool TEXT,
    starved_lack TEXT, -- no_runner, draining, trouble
    starved_message TEXT,
    starved_hint TEXT,
    retries BIGINT NOT NULL, -- how often jobs were to be tried again
    plan_id TEXT, -- the newest plan
    plan_is_current BIGINT NOT NULL, -- whether that is of the jobs as they ended last
    PRIMARY KEY (id)
);
CREATE INDEX executions{g}_newest ON executions{g} (requested_sequence);
CREATE INDEX executions{g}_action ON executions{g} (action_id, requested_sequence);
CREATE INDEX executions{g}_state ON executions{g} (state, requested_sequence);
CREATE INDEX executions{g}_action_state ON executions{g} (action_id, state, requested_sequence);

CREATE TABLE execution_skips{g} (
    execution_id TEXT NOT NULL,
    position BIGINT NOT NULL, -- from 1
    repository TEXT NOT NULL,
    reason TEXT NOT NULL, -- unreachable, empty, no_branch, ignored, no_workspace, no_steps, two_rules
    message TEXT NOT NULL,
    PRIMARY KEY (execution_id, position)
);

CREATE TABLE jobs{g} (
    id TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    repository TEXT NOT NULL,
    url TEXT NOT NULL,
    base_ref TEXT NOT NULL,
    base_oid TEXT NOT NULL,
    path TEXT NOT NULL,
    state TEXT NOT NULL, -- queued, assigned, running, succeeded, failed, canceled
    attempt BIGINT NOT NULL, -- the last one that was given out; 0 before the first
    runner_id TEXT, -- who has or had the last attempt; none while it waits
    cancel_requested BIGINT NOT NULL,
    retry_at TEXT, -- when the next attempt may begin, while it waits after a loss
    failure_origin TEXT, -- job, infrastructure
    failure_kind TEXT,
    failure_step BIGINT,
    failure_exit_code BIGINT,
    failure_message TEXT,
    failure_hint TEXT,
    failure_limit TEXT, -- timeout, step_timeout, memory, workspace_bytes, workspace_files, image_bytes, log_bytes
    failure_limit_value BIGINT, -- milliseconds, bytes or files
    patch_sha256 TEXT,
    patch_size BIGINT,
    files BIGINT,
    insertions BIGINT,
    deletions BIGINT,
    queued_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    updated_sequence BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX jobs{g}_execution ON jobs{g} (execution_id, repository, id);
CREATE INDEX jobs{g}_state ON jobs{g} (execution_id, state, repository, id);

CREATE TABLE attempts{g} (
    job_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    execution_id TEXT NOT NULL,
    runner_id TEXT NOT NULL,
    state TEXT NOT NULL, -- assigned, running, succeeded, failed, lost, returned, timed_out, canceled
    reason TEXT, -- why it was lost, failed or timed out, in words
    failure_origin TEXT, -- job, infrastructure: whose doing that is
    loss_cause TEXT, -- runner, infrastructure, drained
    assigned_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    patch_sha256 TEXT,
    patch_size BIGINT,
    files BIGINT,
    insertions BIGINT,
    deletions BIGINT,
    outputs TEXT, -- JSON, events::job::Outputs: what its steps handed on
    log_chunks BIGINT, -- what the log amounts to: as the final report says, then as it was sealed
    log_bytes BIGINT,
    log_lines BIGINT,
    log_sha256 TEXT,
    sealed_sha256 TEXT, -- the blob of kind `log`
    sealed_size BIGINT,
    secrets TEXT NOT NULL, -- JSON, a list of events::secret::SecretVersion: names and versions, never values
    reused_step BIGINT, -- the last step that did not run again, because what it came to was taken from the step cache
    reused_execution_id TEXT, -- where it ran
    reused_job_id TEXT,
    PRIMARY KEY (job_id, number)
);

CREATE TABLE steps{g} (
    job_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    number BIGINT NOT NULL,
    started_at TEXT NOT NULL, -- or when it was skipped
    skipped BIGINT NOT NULL,
    exit_code BIGINT,
    duration_ms BIGINT,
    PRIMARY KEY (job_id, attempt, number)
);

CREATE TABLE plans{g} (
    id TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    state TEXT NOT NULL, -- current, superseded
    superseded_by TEXT,
    changesets BIGINT NOT NULL,
    missing BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    imports BIGINT, -- absent: nobody counted them
    created_at TEXT NOT NULL,
    document_sha256 TEXT NOT NULL,
    document_size BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX plans{g}_execution ON plans{g} (execution_id);

CREATE TABLE changeset_specs{g} (
    plan_id TEXT NOT NULL,
    position BIGINT NOT NULL, -- from 1
    job_id TEXT NOT NULL,
    repository TEXT NOT NULL,
    url TEXT NOT NULL,
    base_ref TEXT NOT NULL,
    base_oid TEXT NOT NULL,
    head_ref TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    message TEXT NOT NULL,
    author TEXT,
    fork BIGINT, -- absent: as the server does
    publication TEXT NOT NULL,
    patch_sha256 TEXT NOT NULL,
    patch_size BIGINT NOT NULL,
    files BIGINT NOT NULL,
    insertions BIGINT NOT NULL,
    deletions BIGINT NOT NULL,
    PRIMARY KEY (plan_id, position)
);

CREATE TABLE plan_missing{g} (
    plan_id TEXT NOT NULL,
    position BIGINT NOT NULL, -- from 1
    job_id TEXT,
    repository TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (plan_id, position)
);

CREATE TABLE plan_unchanged{g} (
    plan_id TEXT NOT NULL,
    position BIGINT NOT NULL, -- from 1
    job_id TEXT,
    repository TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (plan_id, position)
);

CREATE TABLE plan_imports{g} (
    plan_id TEXT NOT NULL,
    position BIGINT NOT NULL, -- from 1
    repository TEXT NOT NULL,
    external_id TEXT NOT NULL,
    PRIMARY KEY (plan_id, position)
);

CREATE TABLE repositories{g} (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    registered_at TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX repositories{g}_name ON repositories{g} (name, id);

CREATE TABLE repository_heads{g} (
    repository_id TEXT NOT NULL,
    branch TEXT NOT NULL,
    oid TEXT NOT NULL,
    moved_at TEXT NOT NULL,
    PRIMARY KEY (repository_id, branch)
);

CREATE TABLE runners{g} (
    id TEXT NOT NULL,
    state TEXT NOT NULL, -- registered, draining, gone
    slots BIGINT NOT NULL,
    pool TEXT NOT NULL,
    labels TEXT NOT NULL, -- JSON, an object of texts
    version TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    since TEXT NOT NULL, -- when it came to be in this state
    reason TEXT,
    PRIMARY KEY (id)
);

CREATE TABLE enrollments{g} (
    id TEXT NOT NULL, -- the runner's
    state TEXT NOT NULL, -- invited, enrolled, revoked
    since TEXT NOT NULL, -- when it came to be in this state
    token_expires_at TEXT, -- until when the token that is out can be redeemed; nothing: none is out
    PRIMARY KEY (id)
);

CREATE TABLE secrets{g} (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    scope TEXT NOT NULL, -- the action whose steps may ask for it; empty: those of every action
    version BIGINT NOT NULL, -- of the last value
    deleted BIGINT NOT NULL,
    actor TEXT NOT NULL, -- who set it last
    set_at TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX secrets{g}_name ON secrets{g} (deleted, name, id);
CREATE INDEX secrets{g}_scope ON secrets{g} (deleted, scope, name, id);

CREATE TABLE users{g} (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL, -- viewer, operator, admin
    removed BIGINT NOT NULL,
    actor TEXT NOT NULL, -- who made it
    created_at TEXT NOT NULL,
    password_set_at TEXT, -- nothing: there is no password, and nobody can sign in with one
    issuer TEXT, -- the provider of identities that knows the user; nothing: none does
    subject TEXT, -- its name for the user
    PRIMARY KEY (id)
);
CREATE INDEX users{g}_name ON users{g} (removed, name);

CREATE TABLE tokens{g} (
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL, -- access, session
    token_sha256 TEXT NOT NULL, -- of the whole token: whoever shows it names its row
    role TEXT NOT NULL, -- the most that it may do: viewer, operator, admin
    issued_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    revoked_at TEXT,
    PRIMARY KEY (id)
);
CREATE INDEX tokens{g}_digest ON tokens{g} (token_sha256);
CREATE INDEX tokens{g}_user ON tokens{g} (user_id, expires_at, id) WHERE revoked_at IS NULL;
CREATE INDEX tokens{g}_end ON tokens{g} (expires_at, id) WHERE revoked_at IS NULL;

-- How long the lists are that belong to nothing.
CREATE TABLE totals{g} (
    name TEXT NOT NULL, -- actions, actions.archived, executions, executions.STATE, repositories, runners, secrets, users
    count BIGINT NOT NULL,
    PRIMARY KEY (name)
);
