//! Settings of an action: what is to start it, where what it makes goes to, and that it runs no more.
//!
//! Owns what is looked at before it gets to the log: whether a schedule is one, and a name a name. Whether the action takes it
//! is decided from its history.

use events::action::{self, ScheduleSet};
use events::envelope::Recorded;
use events::id::ActionId;
use events::rejection::Code;
use events::{Aggregate, Event, Name};
use schedule::{Refused, Schedule};

use super::apply_action::fold;
use super::create_execution::another_request;
use super::{Commands, Done};
use crate::fault::Fault;

/// A setting with the mutation that gives it or takes it away.
#[derive(Clone, Debug)]
pub(crate) enum Setting {
    /// Lets it run no more.
    Archive,
    /// Lets it run at these times: a cron expression, and the name of a time zone.
    SetSchedule(String, String),
    /// Lets it run at no times any more.
    ClearSchedule,
    /// Lets it run for the news of this search.
    LinkSavedSearch(String),
    /// Lets it run for no search any more.
    UnlinkSavedSearch,
    /// Lets what it makes go to this campaign.
    AttachCampaign(String),
    /// Lets what it makes go to no campaign any more.
    DetachCampaign,
}

impl Setting {
    const fn mutation(&self) -> &'static str {
        match self {
            Self::Archive => "archiveAction",
            Self::SetSchedule(..) => "setActionSchedule",
            Self::ClearSchedule => "clearActionSchedule",
            Self::LinkSavedSearch(_) => "linkActionSavedSearch",
            Self::UnlinkSavedSearch => "unlinkActionSavedSearch",
            Self::AttachCampaign(_) => "attachActionCampaign",
            Self::DetachCampaign => "detachActionCampaign",
        }
    }

    fn command(self) -> Result<action::Command, Fault> {
        Ok(match self {
            Self::Archive => action::Command::Archive,
            Self::SetSchedule(cron, time_zone) => {
                let schedule = Schedule::parse(&cron, &time_zone).map_err(refused)?;
                let (cron, time_zone) = (schedule.cron().to_owned(), schedule.time_zone().to_owned());
                action::Command::SetSchedule(ScheduleSet { cron, time_zone })
            }
            Self::ClearSchedule => action::Command::ClearSchedule,
            Self::LinkSavedSearch(search) => action::Command::LinkSavedSearch(name(&search, "saved search")?),
            Self::UnlinkSavedSearch => action::Command::UnlinkSavedSearch,
            Self::AttachCampaign(campaign) => action::Command::AttachCampaign(name(&campaign, "campaign")?),
            Self::DetachCampaign => action::Command::DetachCampaign,
        })
    }
}

impl Commands {
    /// Gives an action a setting, or takes it away.
    pub(crate) async fn set_action(
        &self,
        id: ActionId,
        setting: Setting,
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let request = self.request(setting.mutation(), mutation_id)?;
        let command = setting.command()?;
        let origin = request.origin(id.to_string());
        let aggregate = Aggregate::Action(id);
        let decide =
            |history: &[Recorded]| Ok(action::decide(&fold(history), command.clone())?.map(Event::Action));
        let decided = self.bounded(&request, self.once(&origin, &aggregate, decide)).await?;
        if let Some(Event::Action(event)) = &decided.event
            && !carries_out(event, &command)
        {
            return Err(another_request("another setting of this action").into());
        }
        Ok(Done { id: id.to_string(), sequence: decided.sequence })
    }
}

/// Whether an event is what a command of the same mutation asks for.
fn carries_out(event: &action::Event, command: &action::Command) -> bool {
    use action::{Command, Event};
    match (event, command) {
        (Event::ScheduleSet(set), Command::SetSchedule(wanted)) => set == wanted,
        (Event::SavedSearchLinked(linked), Command::LinkSavedSearch(wanted)) => {
            linked.saved_search == *wanted
        }
        (Event::CampaignAttached(attached), Command::AttachCampaign(wanted)) => attached.campaign == *wanted,
        _ => true,
    }
}

fn refused(Refused { field, text, message, hint }: Refused) -> Fault {
    Fault::new(Code::InvalidSchedule, message, hint).detail("field", field.as_str()).detail("text", text)
}

fn name(text: &str, what: &str) -> Result<Name, Fault> {
    text.parse().map_err(|error: events::name::InvalidName| {
        Fault::new(Code::InvalidName, format!("{what}: {error}"), "Choose a name as those of actions are.")
    })
}
