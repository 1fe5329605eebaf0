//! Repositories: what is known of them, and where their branches were last seen.

use events::git::{BranchRef, Oid};
use events::rejection::Code;
use events::repository::{Command, Event, HeadMoved, Registered, Removed, Repository, decide, evolve};

use crate::given::{Given, fold};

fn given<const N: usize>(history: [Event; N]) -> Given<Repository, Command, Event> {
    Given::new(fold(history, evolve), decide)
}

fn identity(name: &str) -> Registered {
    Registered { name: name.to_owned(), url: "https://github.com/acme/ledger.git".to_owned() }
}

fn head(branch: &str, digit: char) -> HeadMoved {
    let branch: BranchRef = format!("refs/heads/{branch}").parse().unwrap();
    let oid: Oid = String::from(digit).repeat(40).parse().unwrap();
    HeadMoved { branch, oid }
}

fn registered() -> Event {
    identity("acme/ledger").into()
}

fn moved(branch: &str, digit: char) -> Event {
    head(branch, digit).into()
}

fn removed() -> Event {
    Removed {}.into()
}

#[test]
fn it_is_registered_once_under_each_name() {
    let register = |name| Command::Register(identity(name));
    given([]).when(register("acme/ledger")).then(registered());
    given([registered()]).when(register("acme/ledger")).then_nothing();
    given([registered()]).when(register("acme/books")).then(identity("acme/books"));
    given([registered(), removed()]).when(register("acme/ledger")).then(registered());
}

#[test]
fn a_head_moves_when_it_points_elsewhere() {
    let to = |branch, digit| Command::MoveHead(head(branch, digit));
    given([]).when(to("main", 'a')).then_refused(Code::NotFound);
    given([registered()]).when(to("main", 'a')).then(moved("main", 'a'));
    given([registered(), moved("main", 'a')]).when(to("main", 'a')).then_nothing();
    given([registered(), moved("main", 'a')]).when(to("main", 'f')).then(moved("main", 'f'));
    given([registered(), moved("main", 'a')]).when(to("next", 'a')).then(moved("next", 'a'));
    given([registered(), moved("main", 'a'), moved("main", 'f')])
        .when(to("main", 'a'))
        .then(moved("main", 'a'));
    given([registered(), removed()]).when(to("main", 'a')).then_refused(Code::NotFound);
}

#[test]
fn a_removed_repository_is_forgotten() {
    given([]).when(Command::Remove).then_nothing();
    given([registered()]).when(Command::Remove).then(removed());
    given([registered(), removed()]).when(Command::Remove).then_nothing();
    assert_eq!(fold([registered(), moved("main", 'a'), removed()], evolve), Repository::default());
}

#[test]
fn the_state_is_the_newest_head_of_each_branch() {
    let state = fold([registered(), moved("main", 'a'), moved("next", 'b'), moved("main", 'c')], evolve);
    let heads: Vec<_> =
        state.heads.iter().map(|(branch, oid)| (branch.short(), &oid.as_str()[..1])).collect();
    assert_eq!(heads, [("main", "c"), ("next", "b")]);
}
