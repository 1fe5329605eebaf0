//! `patchwave action schedule`, `search`, `campaign` and `archive`: what is to start an action, where what it makes goes to, and
//! that it runs no more.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::{ShowOptions, action_id, fresh, moment};
use crate::data_dir::DataDirOption;
use crate::output;
use crate::terminal::inert;

/// An action.
#[derive(Args, Clone, Debug)]
pub(crate) struct One {
    /// The action's name or id
    action: String,

    #[command(flatten)]
    show: ShowOptions,
}

/// Options of `patchwave action schedule`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  patchwave action schedule tidy '30 4 * * MON-FRI' --time-zone Europe/Berlin
  patchwave action schedule tidy @weekly
  patchwave action schedule tidy --clear")]
pub(crate) struct Schedule {
    #[command(flatten)]
    one: One,

    /// A cron expression in quotes, `MINUTE HOUR DAY MONTH WEEKDAY`, or @hourly, @daily, @weekly, @monthly, @yearly
    #[arg(required_unless_present = "clear", conflicts_with = "clear")]
    cron: Option<String>,

    /// The time zone on whose clock it is read, by its IANA name
    #[arg(long, value_name = "ZONE", default_value = "UTC", conflicts_with = "clear")]
    time_zone: String,

    /// Take the schedule away
    #[arg(long)]
    clear: bool,
}

/// Options of `patchwave action search`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Search {
    #[command(flatten)]
    one: One,

    /// The name of the saved search
    #[arg(required_unless_present = "clear", conflicts_with = "clear")]
    search: Option<String>,

    /// Take the saved search away
    #[arg(long)]
    clear: bool,
}

/// Options of `patchwave action campaign`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Campaign {
    #[command(flatten)]
    one: One,

    /// The name of the campaign
    #[arg(required_unless_present = "clear", conflicts_with = "clear")]
    campaign: Option<String>,

    /// Take the campaign away
    #[arg(long)]
    clear: bool,
}

/// What is set of an action.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    pub(super) schedule: Option<Times>,
    pub(super) saved_search: Option<String>,
    pub(super) campaign: Option<String>,
}

/// When it is to run.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Times {
    cron: String,
    time_zone: String,
    set_at: String,
    set_by: String,
    next_times: Vec<String>,
}

impl Settings {
    pub(super) fn schedule_words(&self) -> String {
        let Some(Times { cron, time_zone, set_at, set_by, next_times }) = &self.schedule else {
            return "none".to_owned();
        };
        let next: Vec<String> = next_times.iter().map(|time| moment(time)).collect();
        let next = next.join(", ");
        format!("{cron} ({time_zone}), set {} by {set_by}; next {next}", moment(set_at))
    }
}

/// What a mutation answers.
#[derive(Debug, Deserialize, Serialize)]
struct Payload {
    action: Changed,
    sequence: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Changed {
    id: String,
    name: String,
    archived: bool,
    #[serde(flatten)]
    settings: Settings,
}

const CHANGED: &str = "action { id name archived savedSearch campaign
  schedule { cron timeZone setAt setBy nextTimes(first: 3) } } sequence";

/// What people are to know until something is started by a setting.
const NOT_YET: &str = "this server keeps it and shows it; nothing is started or applied by it yet";

pub(super) async fn schedule(options: Schedule, data: &DataDirOption) -> anyhow::Result<()> {
    let Schedule { one, cron, time_zone, .. } = options;
    let (mutation, more) = match cron {
        Some(cron) => ("setActionSchedule", json!({ "cron": cron, "timeZone": time_zone })),
        None => ("clearActionSchedule", json!({})),
    };
    let say = |changed: &Changed| match &changed.settings.schedule {
        Some(_) => format!("schedule of {}: {}\n{NOT_YET}", changed.name, changed.settings.schedule_words()),
        None => format!("{} has no schedule", changed.name),
    };
    change(one, (mutation, more), say, data).await
}

pub(super) async fn search(options: Search, data: &DataDirOption) -> anyhow::Result<()> {
    let Search { one, search, .. } = options;
    let (mutation, more) = match search {
        Some(search) => ("linkActionSavedSearch", json!({ "savedSearch": search })),
        None => ("unlinkActionSavedSearch", json!({})),
    };
    let say = |changed: &Changed| match &changed.settings.saved_search {
        Some(search) => format!("saved search of {}: {search}\n{NOT_YET}", changed.name),
        None => format!("{} has no saved search", changed.name),
    };
    change(one, (mutation, more), say, data).await
}

pub(super) async fn campaign(options: Campaign, data: &DataDirOption) -> anyhow::Result<()> {
    let Campaign { one, campaign, .. } = options;
    let (mutation, more) = match campaign {
        Some(campaign) => ("attachActionCampaign", json!({ "campaign": campaign })),
        None => ("detachActionCampaign", json!({})),
    };
    let say = |changed: &Changed| match &changed.settings.campaign {
        Some(campaign) => format!("campaign of {}: {campaign}\n{NOT_YET}", changed.name),
        None => format!("{} has no campaign", changed.name),
    };
    change(one, (mutation, more), say, data).await
}

pub(super) async fn archive(one: One, data: &DataDirOption) -> anyhow::Result<()> {
    let say = |changed: &Changed| format!("archived {}: it runs no more", changed.name);
    change(one, ("archiveAction", json!({})), say, data).await
}

/// Asks for a change, and says what came of it.
async fn change(
    one: One,
    (mutation, more): (&str, Value),
    say: impl FnOnce(&Changed) -> String,
    data: &DataDirOption,
) -> anyhow::Result<()> {
    let client = one.show.client(data)?;
    let input = match mutation {
        "setActionSchedule" => "SetActionScheduleInput",
        "linkActionSavedSearch" => "ActionSavedSearchInput",
        "attachActionCampaign" => "ActionCampaignInput",
        _ => "ActionInput",
    };
    let query =
        format!("mutation($input: {input}!) {{ changed: {mutation}(input: $input) {{ {CHANGED} }} }}");
    let mut variables = more;
    variables["actionId"] = action_id(&one.action).to_string().into();
    variables["mutationId"] = fresh().into();
    let answer: Answer = client.mutate(&query, &json!({ "input": variables })).await?;
    if one.show.json {
        return output::json(&answer.changed);
    }
    for line in say(&answer.changed.action).lines() {
        eprintln!("{}", inert(line));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Answer {
    changed: Payload,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_reads_like_a_line() {
        let settings: Settings = serde_json::from_value(json!({
            "schedule": {
                "cron": "30 4 * * MON", "timeZone": "Europe/Berlin", "setAt": "2026-01-02T03:04:05.000006Z",
                "setBy": "user:anna", "nextTimes": ["2026-01-05T03:30:00Z", "2026-01-12T03:30:00Z"],
            },
            "savedSearch": null, "campaign": "spring",
        }))
        .unwrap();
        assert_eq!(
            settings.schedule_words(),
            "30 4 * * MON (Europe/Berlin), set 2026-01-02 03:04:05Z by user:anna; next 2026-01-05 03:30:00Z, 2026-01-12 03:30:00Z"
        );
    }
}
