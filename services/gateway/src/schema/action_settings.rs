//! What can be done with an action beside running it: its settings, and its end.

use async_graphql::{Context, ID, InputObject, Result, SimpleObject};

use super::action::Action;
use super::malformed;
use super::mutation::written;
use super::scalar::Sequence;
use crate::command::{Commands, Setting};

/// Which action.
#[derive(InputObject)]
pub(crate) struct ActionInput {
    action_id: ID,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// When an action is to run.
#[derive(InputObject)]
pub(crate) struct SetActionScheduleInput {
    action_id: ID,
    /// A cron expression of five fields, minute hour day month weekday, with names, ranges, steps and lists; or `@hourly`,
    /// `@daily`, `@weekly`, `@monthly`, `@yearly`.
    cron: String,
    /// The IANA name of the time zone on whose clock it is read.
    #[graphql(default_with = "\"UTC\".to_owned()")]
    time_zone: String,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// For the news of which search an action is to run.
#[derive(InputObject)]
pub(crate) struct ActionSavedSearchInput {
    action_id: ID,
    /// Its name: up to 200 ASCII letters, digits, `_`, `.` and `-`. There need not be one of that name yet.
    saved_search: String,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// Where the plans of an action are to go.
#[derive(InputObject)]
pub(crate) struct ActionCampaignInput {
    action_id: ID,
    /// Its name: up to 200 ASCII letters, digits, `_`, `.` and `-`. There need not be one of that name yet.
    campaign: String,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct ActionPayload {
    action: Action,
    sequence: Sequence,
}

pub(super) async fn set(
    ctx: &Context<'_>,
    ActionInput { action_id, mutation_id }: ActionInput,
    setting: Setting,
) -> Result<ActionPayload> {
    let id = action_id.parse().map_err(malformed)?;
    let done = ctx.data::<Commands>()?.set_action(id, setting, mutation_id.as_deref()).await?;
    Ok(ActionPayload { action: written(ctx, &done).await?, sequence: Sequence(done.sequence) })
}

pub(super) async fn set_schedule(
    ctx: &Context<'_>,
    SetActionScheduleInput { action_id, cron, time_zone, mutation_id }: SetActionScheduleInput,
) -> Result<ActionPayload> {
    set(ctx, ActionInput { action_id, mutation_id }, Setting::SetSchedule(cron, time_zone)).await
}

pub(super) async fn link_saved_search(
    ctx: &Context<'_>,
    ActionSavedSearchInput { action_id, saved_search, mutation_id }: ActionSavedSearchInput,
) -> Result<ActionPayload> {
    set(ctx, ActionInput { action_id, mutation_id }, Setting::LinkSavedSearch(saved_search)).await
}

pub(super) async fn attach_campaign(
    ctx: &Context<'_>,
    ActionCampaignInput { action_id, campaign, mutation_id }: ActionCampaignInput,
) -> Result<ActionPayload> {
    set(ctx, ActionInput { action_id, mutation_id }, Setting::AttachCampaign(campaign)).await
}
