//! Actions and their revisions.

use events::action::{Archived, CampaignDetached, Definition, Event, SavedSearchUnlinked, ScheduleCleared};
use events::envelope::Recorded;
use events::id::ActionId;

use super::{Fold, json};
use crate::rows::{Action, ActionRevision, Total};

impl Fold {
    pub(super) fn action(&mut self, recorded: &Recorded, id: ActionId, event: &Event) {
        if let Event::Created(created) = event {
            self.actions.put(created_action(recorded, id, &created.name));
            self.tally(Total::ACTIONS, 1);
        }
        if let Some(action) = self.actions.change(&(id,)) {
            change(action, recorded, event);
            if let Event::Archived(_) = event {
                self.tally(Total::ARCHIVED_ACTIONS, 1);
            }
        }
        match event {
            Event::Created(created) => self.revision(recorded, (id, 1), &created.definition),
            Event::Revised(revised) => self.revision(recorded, (id, revised.revision), &revised.definition),
            _ => {}
        }
    }

    fn revision(&mut self, recorded: &Recorded, id: (ActionId, u32), definition: &Definition) {
        let (action_id, revision) = id;
        self.revisions.put(ActionRevision {
            action_id,
            revision,
            file_name: definition.file_name.clone(),
            source: definition.source.clone(),
            given: json(&definition.given),
            files_sha256: definition.files.as_ref().map(|files| files.sha256.to_string()),
            files_size: definition.files.as_ref().map(|files| files.size),
            actor: recorded.actor.to_string(),
            created_at: recorded.time,
        });
    }
}

fn created_action(recorded: &Recorded, id: ActionId, name: &str) -> Action {
    Action {
        id,
        name: name.to_owned(),
        description: String::new(),
        revision: 1,
        archived: false,
        executions: 0,
        schedule_cron: None,
        schedule_time_zone: None,
        schedule_set_at: None,
        schedule_set_by: None,
        saved_search: None,
        campaign: None,
        created_at: recorded.time,
        updated_at: recorded.time,
        updated_sequence: recorded.sequence,
    }
}

/// What an event changes of an action, as [`events::action::evolve`] says.
fn change(action: &mut Action, recorded: &Recorded, event: &Event) {
    action.updated_at = recorded.time;
    action.updated_sequence = recorded.sequence;
    match event {
        Event::Created(created) => action.description = description(&created.definition),
        Event::Revised(revised) => {
            action.revision = revised.revision;
            action.description = description(&revised.definition);
        }
        Event::Archived(Archived {}) => {
            action.archived = true;
            clear_schedule(action);
            action.saved_search = None;
        }
        Event::ScheduleSet(set) => {
            action.schedule_cron = Some(set.cron.clone());
            action.schedule_time_zone = Some(set.time_zone.clone());
            action.schedule_set_at = Some(recorded.time);
            action.schedule_set_by = Some(recorded.actor.to_string());
        }
        Event::ScheduleCleared(ScheduleCleared {}) => clear_schedule(action),
        Event::SavedSearchLinked(linked) => action.saved_search = Some(linked.saved_search.to_string()),
        Event::SavedSearchUnlinked(SavedSearchUnlinked {}) => action.saved_search = None,
        Event::CampaignAttached(attached) => action.campaign = Some(attached.campaign.to_string()),
        Event::CampaignDetached(CampaignDetached {}) => action.campaign = None,
    }
}

fn clear_schedule(action: &mut Action) {
    action.schedule_cron = None;
    action.schedule_time_zone = None;
    action.schedule_set_at = None;
    action.schedule_set_by = None;
}

/// What an action is for, in its own words; empty where the definition says nothing, or is one that this build refuses.
fn description(definition: &Definition) -> String {
    spec::parse(&definition.into()).map(|parsed| parsed.definition.description).unwrap_or_default()
}
