//! Actions: revisions that count up and an end that stays.

use events::action::{Action, Archived, Command, Created, Definition, Event, Given as Extra, Revised};
use events::action::{decide, evolve};
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
