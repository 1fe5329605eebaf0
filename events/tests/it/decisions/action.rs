//! Actions: revisions that count up, settings of which there is one each, and an end that stays.

use events::Name;
use events::action::{
    Action, Archived, CampaignAttached, CampaignDetached, Command, Created, Definition, Event,
    Given as Extra, Revised, SavedSearchLinked, SavedSearchUnlinked, ScheduleCleared, ScheduleSet, decide,
    evolve,
};
use events::rejection::Code;

use crate::given::{Given, fold};

fn given<const N: usize>(history: [Event; N]) -> Given<Action, Command, Event> {
    Given::new(fold(history, evolve), decide)
}

fn definition(source: &str) -> Definition {
    Definition {
        file_name: "tidy.batch.yaml".to_owned(),
        source: source.to_owned(),
        given: Extra::default(),
        files: None,
    }
}

fn titled(source: &str, title: &str) -> Definition {
    let given = Extra { title: Some(title.to_owned()), ..Extra::default() };
    Definition { given, ..definition(source) }
}

fn created(source: &str) -> Event {
    Created { name: "tidy".to_owned(), definition: definition(source) }.into()
}

fn revised(revision: u32, definition: Definition) -> Event {
    Revised { revision, definition }.into()
}

fn archived() -> Event {
    Archived {}.into()
}

fn apply(definition: Definition) -> Command {
    Command::Apply { name: "tidy".to_owned(), definition }
}

#[test]
fn a_definition_makes_the_action_or_its_next_revision() {
    let second = revised(2, definition("two"));
    given([]).when(apply(definition("one"))).then(created("one"));
    given([created("one")]).when(apply(definition("two"))).then(second.clone());
    given([created("one"), second.clone()])
        .when(apply(definition("one")))
        .then(revised(3, definition("one")));
    given([created("one")]).when(apply(titled("one", "Tidy"))).then(revised(2, titled("one", "Tidy")));
    given([created("one"), revised(41, definition("two"))])
        .when(apply(definition("three")))
        .then(revised(42, definition("three")));
}

#[test]
fn the_newest_definition_again_is_no_news() {
    given([created("one")]).when(apply(definition("one"))).then_nothing();
    given([created("one"), revised(2, definition("two"))]).when(apply(definition("two"))).then_nothing();
}

#[test]
fn an_archived_action_stays_archived() {
    given([created("one")]).when(Command::Archive).then(archived());
    given([created("one"), archived()]).when(Command::Archive).then_nothing();
    given([created("one"), archived()]).when(apply(definition("two"))).then_refused(Code::ActionArchived);
    given([created("one"), archived()]).when(apply(definition("one"))).then_refused(Code::ActionArchived);
    given([]).when(Command::Archive).then_refused(Code::NotFound);
}

#[test]
fn the_state_is_the_newest_revision() {
    let state = fold([created("one"), revised(2, definition("two"))], evolve);
    assert_eq!((state.name.as_str(), state.revision), ("tidy", 2));
    assert_eq!(state.definition, Some(definition("two")));
    assert!(!state.archived);
    assert!(fold([created("one"), archived()], evolve).archived);
}

fn schedule(cron: &str) -> ScheduleSet {
    ScheduleSet { cron: cron.to_owned(), time_zone: "UTC".to_owned() }
}

fn scheduled(cron: &str) -> Event {
    schedule(cron).into()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn linked(search: &str) -> Event {
    SavedSearchLinked { saved_search: name(search) }.into()
}

fn attached(campaign: &str) -> Event {
    CampaignAttached { campaign: name(campaign) }.into()
}

#[test]
fn a_setting_takes_the_place_of_the_one_before_and_the_same_again_is_no_news() {
    let set = |cron| Command::SetSchedule(schedule(cron));
    given([created("one")]).when(set("@daily")).then(scheduled("@daily"));
    given([created("one"), scheduled("@daily")]).when(set("@hourly")).then(scheduled("@hourly"));
    given([created("one"), scheduled("@daily")]).when(set("@daily")).then_nothing();
    let elsewhere = ScheduleSet { time_zone: "Asia/Tokyo".to_owned(), ..schedule("@daily") };
    given([created("one"), scheduled("@daily")])
        .when(Command::SetSchedule(elsewhere.clone()))
        .then(elsewhere);
    let link = |search| Command::LinkSavedSearch(name(search));
    given([created("one")]).when(link("todo")).then(linked("todo"));
    given([created("one"), linked("todo")]).when(link("fixme")).then(linked("fixme"));
    given([created("one"), linked("todo")]).when(link("todo")).then_nothing();
    let attach = |campaign| Command::AttachCampaign(name(campaign));
    given([created("one")]).when(attach("spring")).then(attached("spring"));
    given([created("one"), attached("spring")]).when(attach("autumn")).then(attached("autumn"));
    given([created("one"), attached("spring")]).when(attach("spring")).then_nothing();
}

#[test]
fn what_was_set_can_be_taken_away_once() {
    given([created("one"), scheduled("@daily")]).when(Command::ClearSchedule).then(ScheduleCleared {});
    given([created("one"), linked("todo")]).when(Command::UnlinkSavedSearch).then(SavedSearchUnlinked {});
    given([created("one"), attached("spring")]).when(Command::DetachCampaign).then(CampaignDetached {});
    for nothing in [Command::ClearSchedule, Command::UnlinkSavedSearch, Command::DetachCampaign] {
        given([created("one")]).when(nothing.clone()).then_nothing();
        given([]).when(nothing).then_refused(Code::NotFound);
    }
}

#[test]
fn an_archived_action_has_nothing_that_starts_it_and_takes_nothing_new() {
    let history = || [created("one"), scheduled("@daily"), linked("todo"), attached("spring"), archived()];
    let state = fold(history(), evolve);
    assert_eq!((&state.schedule, &state.saved_search), (&None, &None));
    assert_eq!(state.check_open().unwrap_err().code, Code::ActionArchived);
    for setting in [
        Command::SetSchedule(schedule("@daily")),
        Command::LinkSavedSearch(name("todo")),
        Command::AttachCampaign(name("spring")),
    ] {
        given(history()).when(setting.clone()).then_refused(Code::ActionArchived);
        given([]).when(setting).then_refused(Code::NotFound);
    }
    given(history()).when(Command::ClearSchedule).then_nothing();
    given(history()).when(Command::UnlinkSavedSearch).then_nothing();
    // What still runs goes to its campaign, as long as nobody says otherwise.
    assert_eq!(state.campaign, Some(name("spring")));
    given(history()).when(Command::DetachCampaign).then(CampaignDetached {});
}

#[test]
fn a_revision_keeps_the_settings() {
    let history = [created("one"), scheduled("@daily"), linked("todo"), attached("spring")];
    let state = fold(history.into_iter().chain([revised(2, definition("two"))]), evolve);
    assert_eq!(state.schedule, Some(schedule("@daily")));
    assert_eq!((state.saved_search, state.campaign), (Some(name("todo")), Some(name("spring"))));
}
