//! Plans: made once, and told what took their place.

use events::blob::{BlobKind, BlobRef, Sha256};
use events::id::{ExecutionId, PlanId};
use events::plan::{Command, Created, Event, Plan, Superseded, decide, evolve};
use events::rejection::Code;

use crate::given::{Given, fold};

fn given<const N: usize>(history: [Event; N]) -> Given<Plan, Command, Event> {
    Given::new(fold(history, evolve), decide)
}

fn content(changesets: u32) -> Created {
    let sha256 = Sha256::from_bytes(&[0x3c; 32]);
    Created {
        execution: ExecutionId::derived(&["7f"]),
        document: BlobRef { kind: BlobKind::Plan, sha256, size: 301_577 },
        changesets,
        missing: 17,
        unchanged: 9,
        imports: Some(4),
    }
}

fn created() -> Event {
    content(174).into()
}

fn later(name: &str) -> PlanId {
    PlanId::derived(&[name])
}

fn superseded(by: &str) -> Event {
    Superseded { by: later(by) }.into()
}

#[test]
fn a_plan_is_made_once() {
    given([]).when(Command::Create(content(174))).then(created());
    given([created()]).when(Command::Create(content(174))).then_nothing();
    given([created()]).when(Command::Create(content(3))).then_nothing();
}

#[test]
fn a_later_plan_takes_its_place() {
    let supersede = |by: &str| Command::Supersede { by: later(by) };
    given([]).when(supersede("second")).then_refused(Code::NotFound);
    given([created()]).when(supersede("second")).then(superseded("second"));
    given([created(), superseded("second")]).when(supersede("second")).then_nothing();
    given([created(), superseded("second")]).when(supersede("third")).then(superseded("third"));
}

#[test]
fn a_superseded_plan_keeps_its_content() {
    let plan = fold([created(), superseded("second")], evolve);
    assert_eq!(plan.created, Some(content(174)));
    assert_eq!(plan.superseded_by, Some(later("second")));
}
