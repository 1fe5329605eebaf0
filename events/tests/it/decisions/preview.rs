//! Previews: asked for once, and ended once.

use events::action::{Definition, Given as Extra};
use events::blob::{BlobKind, BlobRef, Sha256};
use events::preview::{Command, End, Event, Failed, Preview, Requested, Resolved, decide, evolve};
use events::rejection::Code;

use crate::given::{Given, fold};

fn given<const N: usize>(history: [Event; N]) -> Given<Preview, Command, Event> {
    Given::new(fold(history, evolve), decide)
}

fn request(name: &str) -> Requested {
    let definition = Definition {
        file_name: "a.yaml".to_owned(),
        source: format!("name: {name}"),
        given: Extra::default(),
        files: None,
    };
    let repositories = vec!["/srv/git/ledger.git".to_owned()];
    Requested { action_name: name.to_owned(), definition, repositories }
}

fn found(workspaces: u32) -> Resolved {
    let sha256 = Sha256::from_bytes(&[0xb4; 32]);
    let scope = BlobRef { kind: BlobKind::Scope, sha256, size: 21_907 };
    Resolved { scope, repositories: 61, workspaces, skipped: 14, unreachable: 2 }
}

fn failed() -> Failed {
    Failed { message: "it took too long".to_owned(), hint: "ask again".to_owned() }
}

fn requested() -> Event {
    request("tidy").into()
}

#[test]
fn it_is_asked_for_once() {
    given([]).when(Command::Request(request("tidy"))).then(requested());
    given([requested()]).when(Command::Request(request("tidy"))).then_nothing();
    given([requested()]).when(Command::Request(request("other"))).then_nothing();
}

#[test]
fn one_that_nobody_asked_for_has_no_end() {
    given([]).when(Command::Resolve(found(70))).then_refused(Code::NotFound);
    given([]).when(Command::Fail(failed())).then_refused(Code::NotFound);
}

#[test]
fn what_was_said_first_stands() {
    given([requested()]).when(Command::Resolve(found(70))).then(found(70));
    given([requested()]).when(Command::Fail(failed())).then(failed());
    for end in [Event::from(found(70)), failed().into()] {
        given([requested(), end.clone()]).when(Command::Resolve(found(3))).then_nothing();
        given([requested(), end]).when(Command::Fail(failed())).then_nothing();
    }
}

#[test]
fn it_knows_how_it_ended() {
    assert_eq!(fold([requested()], evolve).end, None);
    assert_eq!(fold([requested(), found(70).into()], evolve).end, Some(End::Resolved(found(70))));
    assert_eq!(fold([requested(), failed().into()], evolve).end, Some(End::Failed(failed())));
}
