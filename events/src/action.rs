//! Actions: what to change, with every revision kept, and what is to happen by itself.
//!
//! Owns the history of a definition and of its settings. Never reads the definition or a cron expression itself: whether they
//! make sense is said by `spec` and `schedule`, before a command gets here. Invariant: an archived action has nothing that
//! would start it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blob::BlobRef;
use crate::event::event_types;
use crate::name::Name;
use crate::rejection::{Code, Rejection};

/// An action's definition as its user wrote it. The text is what is pinned: every reader parses it again and gets the
/// same result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Definition {
    /// The name of the file, for messages about it.
    pub file_name: String,
    /// The text of the file.
    pub source: String,
    /// What the user gave beside the file.
    #[serde(default)]
    pub given: Given,
    /// The files that its steps mount, as one archive of kind `files`; absent where none mounts any.
    #[serde(default)]
    pub files: Option<Box<BlobRef>>,
}

/// What a legacy action file cannot say and its user gives instead. Empty for a batch spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Given {
    /// The action's name.
    pub name: Option<String>,
    /// The changesets' branch.
    pub branch: Option<String>,
    /// The changesets' title.
    pub title: Option<String>,
    /// The changesets' description.
    pub body: Option<String>,
    /// The commits' message.
    pub message: Option<String>,
}

event_types! {
    /// The action exists, with its first revision.
    Created = "created" / 2,
    /// The action has a new definition; executions of earlier revisions keep theirs.
    Revised = "revised" / 2,
    /// The action runs no more. It has no schedule and no saved search from here on.
    Archived = "archived" / 1,
    /// The action is to run at these times, instead of those that were set before.
    ScheduleSet = "schedule_set" / 1,
    /// The action has no times any more at which it is to run.
    ScheduleCleared = "schedule_cleared" / 1,
    /// The action is to run where this search finds something new, instead of the search that was linked before.
    SavedSearchLinked = "saved_search_linked" / 1,
    /// The action has no saved search any more.
    SavedSearchUnlinked = "saved_search_unlinked" / 1,
    /// What the action's executions make goes to this campaign, instead of the one that was attached before.
    CampaignAttached = "campaign_attached" / 1,
    /// What the action's executions make goes to no campaign any more.
    CampaignDetached = "campaign_detached" / 1,
}

/// The payload of `action.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// Its name, unique and never changed.
    pub name: String,
    /// Revision 1.
    pub definition: Definition,
}

/// The payload of `action.revised`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revised {
    /// The new revision, one more than the last.
    pub revision: u32,
    /// Its definition.
    pub definition: Definition,
}

/// The payload of `action.archived`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Archived {}

/// The payload of `action.schedule_set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleSet {
    /// A cron expression: minute, hour, day, month and weekday with one space between them, or a nickname such as `@daily`.
    pub cron: String,
    /// The IANA name of the time zone on whose clock it is read.
    pub time_zone: String,
}

/// The payload of `action.schedule_cleared`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleCleared {}

/// The payload of `action.saved_search_linked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SavedSearchLinked {
    /// The name of the saved search. There may be none of that name yet.
    pub saved_search: Name,
}

/// The payload of `action.saved_search_unlinked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SavedSearchUnlinked {}

/// The payload of `action.campaign_attached`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CampaignAttached {
    /// The name of the campaign. There may be none of that name yet.
    pub campaign: Name,
}

/// The payload of `action.campaign_detached`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CampaignDetached {}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The newest revision; 0 before the first.
    pub revision: u32,
    /// The name; empty before the first revision.
    pub name: String,
    /// The newest definition.
    pub definition: Option<Definition>,
    /// Whether it runs no more.
    pub archived: bool,
    /// When it is to run by itself.
    #[serde(default)]
    pub schedule: Option<ScheduleSet>,
    /// The search whose news it is to run on.
    #[serde(default)]
    pub saved_search: Option<Name>,
    /// Where what it makes goes to.
    #[serde(default)]
    pub campaign: Option<Name>,
}

/// What can be asked of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make this the newest definition, and the action if there is none.
    Apply {
        /// The action's name.
        name: String,
        /// The definition.
        definition: Definition,
    },
    /// Let it run no more.
    Archive,
    /// Let it run at these times.
    SetSchedule(ScheduleSet),
    /// Let it run at no times any more.
    ClearSchedule,
    /// Let it run where this search finds something new.
    LinkSavedSearch(Name),
    /// Let it run for no search any more.
    UnlinkSavedSearch,
    /// Let what it makes go to this campaign.
    AttachCampaign(Name),
    /// Let what it makes go to no campaign any more.
    DetachCampaign,
}

/// Decides what a command means for an action in this state. What is so already is no news.
pub fn decide(action: &Action, command: Command) -> Result<Option<Event>, Rejection> {
    if action.revision == 0 && !matches!(command, Command::Apply { .. }) {
        return Err(Rejection::new(
            Code::NotFound,
            "there is no such action",
            "`patchwave action list` shows the actions there are.",
        ));
    }
    // What is taken away from an archived action is not there, save for its campaign.
    let gives = |command: &Command| {
        use Command::{Apply, AttachCampaign, LinkSavedSearch, SetSchedule};
        matches!(command, Apply { .. } | SetSchedule(_) | LinkSavedSearch(_) | AttachCampaign(_))
    };
    if gives(&command) {
        action.check_open()?;
    }
    Ok(match command {
        Command::Apply { definition, .. } if action.definition.as_ref() == Some(&definition) => None,
        Command::Apply { name, definition } if action.revision == 0 => {
            Some(Created { name, definition }.into())
        }
        Command::Apply { definition, .. } => {
            Some(Revised { revision: action.revision.saturating_add(1), definition }.into())
        }
        Command::SetSchedule(set) => (action.schedule.as_ref() != Some(&set)).then(|| set.into()),
        Command::LinkSavedSearch(name) => (action.saved_search.as_ref() != Some(&name))
            .then(|| SavedSearchLinked { saved_search: name }.into()),
        Command::AttachCampaign(name) => {
            (action.campaign.as_ref() != Some(&name)).then(|| CampaignAttached { campaign: name }.into())
        }
        Command::Archive => (!action.archived).then(|| Archived {}.into()),
        Command::ClearSchedule => action.schedule.as_ref().map(|_| ScheduleCleared {}.into()),
        Command::UnlinkSavedSearch => action.saved_search.as_ref().map(|_| SavedSearchUnlinked {}.into()),
        Command::DetachCampaign => action.campaign.as_ref().map(|_| CampaignDetached {}.into()),
    })
}

impl Action {
    /// Whether it takes revisions, settings and executions.
    ///
    /// # Errors
    /// It is archived.
    pub fn check_open(&self) -> Result<(), Rejection> {
        if !self.archived {
            return Ok(());
        }
        Err(Rejection::new(
            Code::ActionArchived,
            format!("the action `{}` is archived: it takes no revisions, settings or executions", self.name),
            "Apply its definition under another name (`patchwave action show` prints it), and use that action.",
        ))
    }
}

/// Takes an event in.
pub fn evolve(mut action: Action, event: &Event) -> Action {
    match event {
        Event::Created(created) => {
            action.revision = 1;
            action.name.clone_from(&created.name);
            action.definition = Some(created.definition.clone());
        }
        Event::Revised(revised) => {
            action.revision = revised.revision;
            action.definition = Some(revised.definition.clone());
        }
        // Nothing starts it any more. What still runs has its campaign to go to.
        Event::Archived(Archived {}) => {
            action.archived = true;
            action.schedule = None;
            action.saved_search = None;
        }
        Event::ScheduleSet(schedule) => action.schedule = Some(schedule.clone()),
        Event::ScheduleCleared(ScheduleCleared {}) => action.schedule = None,
        Event::SavedSearchLinked(linked) => action.saved_search = Some(linked.saved_search.clone()),
        Event::SavedSearchUnlinked(SavedSearchUnlinked {}) => action.saved_search = None,
        Event::CampaignAttached(attached) => action.campaign = Some(attached.campaign.clone()),
        Event::CampaignDetached(CampaignDetached {}) => action.campaign = None,
    }
    action
}
