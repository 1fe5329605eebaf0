//! Actions, as they are revised, set and archived.

use events::action::{self, Definition, Given};
use events::blob::{BlobKind, BlobRef, Sha256};
use events::id::ActionId;
use events::{Aggregate, Event};

use super::History;

impl History {
    pub(super) fn action(&mut self) {
        let name = ["tidy", "upgrade", "nul\u{0}in-it"][self.dice.roll(3)];
        let id = ActionId::named(name);
        let state = self.actions.entry(id).or_default();
        let setting = ["alpha", "beta"][self.dice.roll(2)];
        let command = match self.dice.roll(16) {
            0 => action::Command::Archive,
            10 => action::Command::SetSchedule(action::ScheduleSet {
                cron: ["@daily", "0 4 * * MON"][self.dice.roll(2)].to_owned(),
                time_zone: "Europe/Berlin".to_owned(),
            }),
            11 => action::Command::ClearSchedule,
            12 => action::Command::LinkSavedSearch(setting.parse().unwrap()),
            13 => action::Command::UnlinkSavedSearch,
            14 => action::Command::AttachCampaign(setting.parse().unwrap()),
            15 => action::Command::DetachCampaign,
            number => {
                let file_name = "a.batch.yaml".to_owned();
                let source = format!("name: {name}\ndescription: number {number}\n");
                let sha256 = Sha256::from_bytes(&[u8::try_from(number).unwrap(); 32]);
                let files = (number % 2 == 0)
                    .then(|| Box::new(BlobRef { kind: BlobKind::Files, sha256, size: number as u64 }));
                let definition = Definition { file_name, source, given: Given::default(), files };
                action::Command::Apply { name: name.to_owned(), definition }
            }
        };
        if let Ok(Some(event)) = action::decide(state, command) {
            *state = action::evolve(std::mem::take(state), &event);
            self.record(Aggregate::Action(id), Event::Action(event), None);
        }
    }
}
