//! Mutations: commands, and what they did.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};
use broker::sealing::Plain;
use events::execution::Selection;
use events::id::{ActionId, InvalidRunnerId, RunnerId};
use events::rejection::Code;
use events::secret::Scope;

use super::action_settings::{
    self, ActionCampaignInput, ActionInput, ActionPayload, ActionSavedSearchInput, SetActionScheduleInput,
};
use super::apply::{self, ApplyActionInput, ApplyActionPayload};
use super::by_id;
use super::execution::Execution;
use super::job::Job;
use super::people::{
    self, CreateTokenInput, CreateTokenPayload, CreateUserInput, LinkUserInput, RemoveUserInput,
    RevokeTokenInput, RevokeTokenPayload, SetPasswordInput, SetUserRoleInput, UserPayload,
};
use super::preview::{self, PreviewActionInput, PreviewActionPayload};
use super::runner::Runner;
use super::scalar::{DateTime, Sequence};
use super::secret::Secret;
use crate::command::{Commands, CreateExecution, Done, Setting, TokenFor, Which};
use crate::fault::Fault;
use crate::projection::{Identified, Projection, stale};

/// Everything that can be asked for.
pub(crate) struct Mutation;

/// For which machine a token is to be made.
#[derive(InputObject)]
pub(crate) struct CreateRunnerTokenInput {
    /// The runner that the machine is to become: 1 to 63 characters of a-z, 0-9 and inner hyphens.
    runner: String,
    /// For how long it can be redeemed.
    #[graphql(default = 3_600)]
    expires_in_seconds: i32,
    /// The pool of the runner, whatever its machine says; absent: the one that it says.
    pool: Option<String>,
    /// The labels of the runner, `NAME` or `NAME=VALUE`, whatever its machine says; absent: those that it says.
    labels: Option<Vec<String>>,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct CreateRunnerTokenPayload {
    /// What the machine redeems, once. It is shown here and nowhere else; absent where the same request had made it before.
    token: Option<String>,
    expires_at: DateTime,
    sequence: Sequence,
}

/// Which runner may not connect any more.
#[derive(InputObject)]
pub(crate) struct RevokeRunnerInput {
    runner: String,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct RevokeRunnerPayload {
    runner: String,
    sequence: Sequence,
}

/// What to run, and where.
#[derive(InputObject)]
pub(crate) struct CreateActionExecutionInput {
    action_id: ID,
    /// The revision; absent: the newest.
    revision: Option<i32>,
    /// Clone URLs or absolute paths; empty: what the definition's `on` says.
    repositories: Option<Vec<String>>,
    /// Whether every step runs, whatever the step cache has of earlier executions.
    #[graphql(default)]
    no_cache: bool,
    /// The pool whose runners its jobs go to; absent: the one that the definition says.
    pool: Option<String>,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct CreateActionExecutionPayload {
    execution: Execution,
    sequence: Sequence,
}

/// The runner that is to leave.
#[derive(InputObject)]
pub(crate) struct DrainRunnerInput {
    id: ID,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// Which execution.
#[derive(InputObject)]
pub(crate) struct CancelExecutionInput {
    execution_id: ID,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// Which jobs of an execution are tried again. Those that have not ended are left alone.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum RetrySelection {
    /// Those that did not succeed: failed, timed out or canceled.
    Failed,
    /// Every one.
    All,
}

/// Which execution, and which of its jobs.
#[derive(InputObject)]
pub(crate) struct RetryExecutionInput {
    execution_id: ID,
    jobs: RetrySelection,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// Which execution.
#[derive(InputObject)]
pub(crate) struct CreateCampaignPlanInput {
    execution_id: ID,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// Which job.
#[derive(InputObject)]
pub(crate) struct JobInput {
    job_id: ID,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct DrainRunnerPayload {
    runner: Runner,
    sequence: Sequence,
}

/// A secret and its value.
#[derive(InputObject)]
pub(crate) struct SetSecretInput {
    /// ASCII letters, digits and `_`, and no digit first: also the variable in which a step finds it.
    name: String,
    /// The action whose steps may ask for it; absent: the steps of every action.
    action_id: Option<ID>,
    /// 4 bytes to 16 KiB, without zero bytes.
    value: String,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// A secret.
#[derive(InputObject)]
pub(crate) struct DeleteSecretInput {
    name: String,
    /// The action for which it was set; absent: it was set for all.
    action_id: Option<ID>,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct ExecutionPayload {
    execution: Execution,
    sequence: Sequence,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct SecretPayload {
    secret: Secret,
    sequence: Sequence,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct JobPayload {
    job: Job,
    sequence: Sequence,
}

#[Object]
impl Mutation {
    /// Gives a secret a value, which can be used by steps and never be read again.
    async fn set_secret(&self, ctx: &Context<'_>, input: SetSecretInput) -> Result<SecretPayload> {
        let value = Plain::new(input.value);
        let which = which(&input.name, input.action_id.as_ref())?;
        let done = ctx.data::<Commands>()?.set_secret(which, value, input.mutation_id.as_deref()).await?;
        let secret = written(ctx, &done).await?;
        Ok(SecretPayload { secret, sequence: Sequence(done.sequence) })
    }

    /// Takes a secret's value away. Jobs that were assigned before still have it.
    async fn delete_secret(&self, ctx: &Context<'_>, input: DeleteSecretInput) -> Result<SecretPayload> {
        let which = which(&input.name, input.action_id.as_ref())?;
        let done = ctx.data::<Commands>()?.delete_secret(which, input.mutation_id.as_deref()).await?;
        let secret = written(ctx, &done).await?;
        Ok(SecretPayload { secret, sequence: Sequence(done.sequence) })
    }

    /// Makes this definition the newest of its action, and the action if there is none.
    async fn apply_action(&self, ctx: &Context<'_>, input: ApplyActionInput) -> Result<ApplyActionPayload> {
        apply::apply(ctx, input).await
    }

    /// Finds out where a definition would run, and which of its steps. Runs nothing, and makes no action and no execution.
    async fn preview_action(
        &self,
        ctx: &Context<'_>,
        input: PreviewActionInput,
    ) -> Result<PreviewActionPayload> {
        preview::ask(ctx, input).await
    }

    /// Makes a token with which one machine can enroll as a runner. One that was made before for the same runner and not
    /// redeemed is void.
    async fn create_runner_token(
        &self,
        ctx: &Context<'_>,
        input: CreateRunnerTokenInput,
    ) -> Result<CreateRunnerTokenPayload> {
        let runner = runner_id(&input.runner)?;
        let commands = ctx.data::<Commands>()?;
        let CreateRunnerTokenInput { expires_in_seconds, pool, labels, mutation_id, .. } = input;
        let wanted = TokenFor { runner, expires_in_seconds: expires_in_seconds.into(), pool, labels };
        let made = commands.create_runner_token(wanted, mutation_id.as_deref()).await?;
        // The token is shown here alone: a projection that is late must not keep it back.
        let _ = ctx.data::<Projection>()?.reach(made.sequence).await;
        let (token, expires_at) = (made.token, DateTime(made.expires_at.to_rfc3339()));
        Ok(CreateRunnerTokenPayload { token, expires_at, sequence: Sequence(made.sequence) })
    }

    /// Cuts an enrolled runner off, for ever. What it runs is tried again elsewhere.
    async fn revoke_runner(
        &self,
        ctx: &Context<'_>,
        input: RevokeRunnerInput,
    ) -> Result<RevokeRunnerPayload> {
        let runner = runner_id(&input.runner)?;
        let done = ctx.data::<Commands>()?.revoke_runner(runner, input.mutation_id.as_deref()).await?;
        reached(ctx, &done).await?;
        Ok(RevokeRunnerPayload { runner: done.id, sequence: Sequence(done.sequence) })
    }

    /// Runs an action.
    async fn create_action_execution(
        &self,
        ctx: &Context<'_>,
        input: CreateActionExecutionInput,
    ) -> Result<CreateActionExecutionPayload> {
        let create = CreateExecution {
            action: input.action_id.parse().map_err(super::malformed)?,
            revision: input.revision,
            repositories: input.repositories.unwrap_or_default(),
            no_cache: input.no_cache,
            pool: input.pool,
        };
        let done = ctx.data::<Commands>()?.create_execution(create, input.mutation_id.as_deref()).await?;
        let execution = written(ctx, &done).await?;
        Ok(CreateActionExecutionPayload { execution, sequence: Sequence(done.sequence) })
    }

    /// Lets an action run no more: it takes no revisions, settings and executions, and has no schedule and no saved search from
    /// here on. What runs already ends as it would. There is no way back.
    async fn archive_action(&self, ctx: &Context<'_>, input: ActionInput) -> Result<ActionPayload> {
        action_settings::set(ctx, input, Setting::Archive).await
    }

    /// Says when an action is to run, in place of what was said before. So far that is kept and shown, and starts nothing.
    async fn set_action_schedule(
        &self,
        ctx: &Context<'_>,
        input: SetActionScheduleInput,
    ) -> Result<ActionPayload> {
        action_settings::set_schedule(ctx, input).await
    }

    /// Takes the schedule of an action away.
    async fn clear_action_schedule(&self, ctx: &Context<'_>, input: ActionInput) -> Result<ActionPayload> {
        action_settings::set(ctx, input, Setting::ClearSchedule).await
    }

    /// Says for the news of which saved search an action is to run. So far that is kept and shown, and starts nothing.
    async fn link_action_saved_search(
        &self,
        ctx: &Context<'_>,
        input: ActionSavedSearchInput,
    ) -> Result<ActionPayload> {
        action_settings::link_saved_search(ctx, input).await
    }

    /// Takes the saved search of an action away.
    async fn unlink_action_saved_search(
        &self,
        ctx: &Context<'_>,
        input: ActionInput,
    ) -> Result<ActionPayload> {
        action_settings::set(ctx, input, Setting::UnlinkSavedSearch).await
    }

    /// Says to which campaign the plans of an action are to go. So far that is kept and shown, and applies nothing.
    async fn attach_action_campaign(
        &self,
        ctx: &Context<'_>,
        input: ActionCampaignInput,
    ) -> Result<ActionPayload> {
        action_settings::attach_campaign(ctx, input).await
    }

    /// Takes the campaign of an action away.
    async fn detach_action_campaign(&self, ctx: &Context<'_>, input: ActionInput) -> Result<ActionPayload> {
        action_settings::set(ctx, input, Setting::DetachCampaign).await
    }

    /// Lets a runner finish what it runs, take nothing new, and leave.
    async fn drain_runner(&self, ctx: &Context<'_>, input: DrainRunnerInput) -> Result<DrainRunnerPayload> {
        let id = runner_id(&input.id)?;
        let done = ctx.data::<Commands>()?.drain_runner(&id, input.mutation_id.as_deref()).await?;
        let runner = written(ctx, &done).await?;
        Ok(DrainRunnerPayload { runner, sequence: Sequence(done.sequence) })
    }

    /// Lets an execution stop: what waits ends at once, what runs is stopped. Its patches stay.
    async fn cancel_execution(
        &self,
        ctx: &Context<'_>,
        input: CancelExecutionInput,
    ) -> Result<ExecutionPayload> {
        let id = input.execution_id.parse().map_err(super::malformed)?;
        let done = ctx.data::<Commands>()?.cancel_execution(id, input.mutation_id.as_deref()).await?;
        execution_payload(ctx, &done).await
    }

    /// Tries jobs of an execution again. Earlier attempts and plans stay readable.
    async fn retry_execution(
        &self,
        ctx: &Context<'_>,
        input: RetryExecutionInput,
    ) -> Result<ExecutionPayload> {
        let id = input.execution_id.parse().map_err(super::malformed)?;
        let jobs = match input.jobs {
            RetrySelection::Failed => Selection::Failed,
            RetrySelection::All => Selection::All,
        };
        let done = ctx.data::<Commands>()?.retry_execution(id, jobs, input.mutation_id.as_deref()).await?;
        execution_payload(ctx, &done).await
    }

    /// Makes a plan of the patches that a canceled execution has. Each other end makes one by itself.
    async fn create_campaign_plan(
        &self,
        ctx: &Context<'_>,
        input: CreateCampaignPlanInput,
    ) -> Result<ExecutionPayload> {
        let id = input.execution_id.parse().map_err(super::malformed)?;
        let done = ctx.data::<Commands>()?.create_campaign_plan(id, input.mutation_id.as_deref()).await?;
        execution_payload(ctx, &done).await
    }

    /// Lets a job stop: at once if it waits, by its runner if it runs.
    async fn cancel_job(&self, ctx: &Context<'_>, input: JobInput) -> Result<JobPayload> {
        let id = input.job_id.parse().map_err(super::malformed)?;
        let done = ctx.data::<Commands>()?.cancel_job(id, input.mutation_id.as_deref()).await?;
        job_payload(ctx, &done).await
    }

    /// Tries a job that has ended again. Its earlier attempts stay readable.
    async fn retry_job(&self, ctx: &Context<'_>, input: JobInput) -> Result<JobPayload> {
        let id = input.job_id.parse().map_err(super::malformed)?;
        let done = ctx.data::<Commands>()?.retry_job(id, input.mutation_id.as_deref()).await?;
        job_payload(ctx, &done).await
    }

    /// Makes a user, who may sign in once there is a password.
    async fn create_user(&self, ctx: &Context<'_>, input: CreateUserInput) -> Result<UserPayload> {
        people::create_user(ctx, input).await
    }

    /// Lets a user do more or less. The last administrator stays one.
    async fn set_user_role(&self, ctx: &Context<'_>, input: SetUserRoleInput) -> Result<UserPayload> {
        people::set_user_role(ctx, input).await
    }

    /// Gives a user another password, and ends the sessions of the one before.
    async fn set_password(&self, ctx: &Context<'_>, input: SetPasswordInput) -> Result<UserPayload> {
        people::set_password(ctx, input).await
    }

    /// Lets whoever a provider of identities knows so sign in as a user, and nobody else whom it knows.
    async fn link_user(&self, ctx: &Context<'_>, input: LinkUserInput) -> Result<UserPayload> {
        people::link_user(ctx, input).await
    }

    /// Takes a user's rights away, for ever, and with them those of all tokens. The last administrator stays.
    async fn remove_user(&self, ctx: &Context<'_>, input: RemoveUserInput) -> Result<UserPayload> {
        people::remove_user(ctx, input).await
    }

    /// Makes a token for a program. Only whoever signed in can, not another token.
    async fn create_token(&self, ctx: &Context<'_>, input: CreateTokenInput) -> Result<CreateTokenPayload> {
        people::create_token(ctx, input).await
    }

    /// Takes a token's worth away, at once.
    async fn revoke_token(&self, ctx: &Context<'_>, input: RevokeTokenInput) -> Result<RevokeTokenPayload> {
        people::revoke_token(ctx, input).await
    }
}

async fn execution_payload(ctx: &Context<'_>, done: &Done) -> Result<ExecutionPayload> {
    let execution = written(ctx, done).await?;
    Ok(ExecutionPayload { execution, sequence: Sequence(done.sequence) })
}

async fn job_payload(ctx: &Context<'_>, done: &Done) -> Result<JobPayload> {
    let job = written(ctx, done).await?;
    Ok(JobPayload { job, sequence: Sequence(done.sequence) })
}

/// Reads which secret is meant.
fn which(name: &str, action: Option<&ID>) -> Result<Which, Fault> {
    let name = name.parse().map_err(|error: events::secret::InvalidSecretName| {
        Fault::new(Code::InvalidSecret, error.to_string(), "Name it as a variable, for example `NPM_TOKEN`.")
    })?;
    let scope = match action {
        Some(id) => Scope::Action { action: id.parse::<ActionId>().map_err(super::malformed)? },
        None => Scope::Global,
    };
    Ok(Which { name, scope })
}

fn runner_id(text: &str) -> Result<RunnerId, Fault> {
    let hint = "A runner's name has 1 to 63 characters of a-z, 0-9 and inner hyphens.";
    text.parse().map_err(|error: InvalidRunnerId| Fault::invalid(error.to_string(), hint))
}

/// Waits until what a command wrote can be read.
async fn reached(ctx: &Context<'_>, Done { id, sequence }: &Done) -> Result<()> {
    match ctx.data::<Projection>()?.reach(*sequence).await {
        Err(Fault::Rejected { .. }) => {
            let message = format!(
                "the command was carried out, as {id} at sequence {sequence}, but the projection has not reached it in time"
            );
            Err(stale(message).detail("sequence", *sequence).detail("id", id.as_str()).into())
        }
        other => Ok(other?),
    }
}

/// What a command wrote, once it can be read.
pub(super) async fn written<T: Identified>(ctx: &Context<'_>, done: &Done) -> Result<T> {
    let Done { id, sequence } = done;
    reached(ctx, done).await?;
    let missing = || {
        anyhow::anyhow!("the projection passed sequence {sequence} and has no {id}: was the event set aside?")
    };
    Ok(by_id(ctx, id.clone(), None).await?.ok_or_else(|| Fault::ours(missing()))?)
}
