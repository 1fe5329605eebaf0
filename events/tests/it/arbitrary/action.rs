//! Random events of and commands to an action.

use events::Name;
use events::action::{self, Definition};
use proptest::prelude::*;

use super::{definition, number, text};

fn apply() -> impl Strategy<Value = (String, Definition)> {
    (text(), definition())
}

fn name() -> impl Strategy<Value = Name> {
    "[ab]|[A-Za-z0-9_.-]{1,200}".prop_map(|name| name.parse().unwrap())
}

fn schedule_set() -> impl Strategy<Value = action::ScheduleSet> {
    (text(), text()).prop_map(|(cron, time_zone)| action::ScheduleSet { cron, time_zone })
}

/// Any event of an action.
pub(crate) fn action_event() -> impl Strategy<Value = action::Event> {
    prop_oneof![
        apply().prop_map(|(name, definition)| action::Created { name, definition }.into()),
        (number(), definition())
            .prop_map(|(revision, definition)| action::Revised { revision, definition }.into()),
        Just(action::Archived {}.into()),
        schedule_set().prop_map(Into::into),
        Just(action::ScheduleCleared {}.into()),
        name().prop_map(|saved_search| action::SavedSearchLinked { saved_search }.into()),
        Just(action::SavedSearchUnlinked {}.into()),
        name().prop_map(|campaign| action::CampaignAttached { campaign }.into()),
        Just(action::CampaignDetached {}.into()),
    ]
}

/// Any command to an action.
pub(crate) fn action_command() -> impl Strategy<Value = action::Command> {
    prop_oneof![
        6 => apply().prop_map(|(name, definition)| action::Command::Apply { name, definition }),
        1 => Just(action::Command::Archive),
        2 => schedule_set().prop_map(action::Command::SetSchedule),
        1 => Just(action::Command::ClearSchedule),
        2 => name().prop_map(action::Command::LinkSavedSearch),
        1 => Just(action::Command::UnlinkSavedSearch),
        2 => name().prop_map(action::Command::AttachCampaign),
        1 => Just(action::Command::DetachCampaign),
    ]
}
