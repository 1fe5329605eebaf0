//! Runners: they come, drain and go.

use std::collections::BTreeMap;

use events::rejection::Code;
use events::runner::{Command, Draining, Event, Gone, Registered, Runner, decide, evolve};
use uuid::Uuid;

use crate::given::{Given, fold};

fn given<const N: usize>(history: [Event; N]) -> Given<Runner, Command, Event> {
    Given::new(fold(history, evolve), decide)
}

fn start(incarnation: u128, slots: u32) -> Registered {
    Registered {
        incarnation: Uuid::from_u128(incarnation),
        slots,
        pool: "gpu".to_owned(),
        labels: BTreeMap::from([("arch".to_owned(), "amd64".to_owned())]),
        version: "0.1.0".to_owned(),
    }
}

fn registered(incarnation: u128) -> Event {
    start(incarnation, 6).into()
}

fn draining() -> Event {
    Draining {}.into()
}

fn leave(reason: &str) -> Command {
    Command::Leave { reason: reason.to_owned() }
}

fn gone(reason: &str) -> Event {
    Gone { reason: reason.to_owned() }.into()
}

#[test]
fn each_start_of_its_process_is_news() {
    given([]).when(Command::Register(start(7, 6))).then(registered(7));
    given([registered(7)]).when(Command::Register(start(7, 6))).then_nothing();
    given([registered(7)]).when(Command::Register(start(9_000, 6))).then(registered(9_000));
    given([registered(7)]).when(Command::Register(start(7, 12))).then(start(7, 12));
    given([registered(7), gone("silence")]).when(Command::Register(start(7, 6))).then(registered(7));
}

#[test]
fn a_runner_that_is_there_can_drain() {
    given([]).when(Command::Drain).then_refused(Code::NotFound);
    given([registered(7)]).when(Command::Drain).then(draining());
    given([registered(7), draining()]).when(Command::Drain).then_nothing();
    given([registered(7), gone("silence")]).when(Command::Drain).then_refused(Code::NotFound);
    // What registers again takes jobs again.
    given([registered(7), draining(), registered(9_000)]).when(Command::Drain).then(draining());
}

#[test]
fn it_leaves_once() {
    given([]).when(leave("silence")).then_nothing();
    given([registered(7)]).when(leave("silence")).then(gone("silence"));
    given([registered(7), draining()]).when(leave("stopped")).then(gone("stopped"));
    given([registered(7), gone("silence")]).when(leave("stopped")).then_nothing();
}

#[test]
fn nothing_is_left_of_a_runner_that_is_gone() {
    assert_eq!(fold([registered(7), draining(), gone("stopped")], evolve), Runner::default());
    assert!(!fold([registered(7), draining(), registered(9_000)], evolve).draining);
}
