//! The server made to act for the attacker: every request that a runner may make, with a reply subject of its choice.
//!
//! The server publishes its answer there with its own rights, and an answer on a subject of its API is a call. Across the
//! border between the accounts the answer goes back over the import, whatever the reply subject says. The control has
//! the same rights inside the services' account, and each of these attempts works there.

use std::time::{Duration, Instant};

use crate::raw::{PATIENCE, Raw};
use crate::world::{Stored, World};

/// What the runner north asks, and for what it would like the answer to be taken.
struct Attempt {
    subject: &'static str,
    payload: &'static str,
    reply: &'static str,
}

const NO_WAIT: &str = r#"{"batch":1,"no_wait":true}"#;
const CONTROL: &str = "$JS.API.CONSUMER.MSG.NEXT.WORK.north-control";
const TICKET: &str = "$JS.API.CONSUMER.MSG.NEXT.WORK.north-ticket";

const SOURCE: &str = "$JS.API.DIRECT.GET.BLOBS.blob.source.aaaa.0";

const fn attempt(subject: &'static str, payload: &'static str, reply: &'static str) -> Attempt {
    Attempt { subject, payload, reply }
}

const ATTEMPTS: &[Attempt] = &[
    attempt(TICKET, NO_WAIT, "ev.execution.one.completed"),
    // An empty queue answers with a status and no payload, which is a valid request.
    attempt(CONTROL, NO_WAIT, "$JS.API.STREAM.PURGE.LOGS"),
    attempt(CONTROL, NO_WAIT, "$JS.API.STREAM.PURGE.REPORTS"),
    attempt(CONTROL, NO_WAIT, "$JS.API.STREAM.DELETE.EVENTS"),
    attempt(CONTROL, NO_WAIT, "$JS.API.STREAM.DELETE.WORK"),
    attempt(CONTROL, NO_WAIT, "$JS.API.CONSUMER.DELETE.WORK.south-ticket"),
    attempt(CONTROL, NO_WAIT, "ev.execution.one.completed"),
    attempt(CONTROL, NO_WAIT, "work.south.control"),
    // A queue that holds something answers with a whole message.
    attempt(TICKET, NO_WAIT, "report.south.job.1"),
    // The acknowledgement of what a stream stored.
    attempt("report.north.job.1", "hello", "ev.execution.one.completed"),
    attempt("log.north.job.1", "hello", "ev.execution.one.completed"),
    attempt("beat.runner.north", "hello", "ev.execution.one.completed"),
    attempt("blob.patch.ffff.0", "hello", "ev.execution.one.completed"),
    attempt("report.north.job.1", "hello", "work.south.control"),
    attempt("$JS.API.CONSUMER.INFO.WORK.north-ticket", "", "ev.execution.one.completed"),
    attempt("$JS.API.CONSUMER.INFO.WORK.north-ticket", "", "log.south.job.1"),
    // A blob comes with bytes that the attacker chose.
    attempt(SOURCE, "", "ev.execution.one.completed"),
    attempt(SOURCE, "", "work.south.ticket"),
    attempt(SOURCE, "", "dead.scheduler"),
];

/// Asks by the name that a user has for the API.
async fn make(raw: &Raw, attempt: &Attempt, api: &str) {
    let subject = attempt.subject.replace("$JS.API.", api);
    raw.publish(&subject, Some(attempt.reply), attempt.payload).await;
    assert!(raw.accepted().await, "{subject} is refused: the attempt has to be one that a runner may make");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_subject_makes_the_server_do_nothing() {
    let world = World::new().await;
    let norths = world.norths().await;
    for attempt in ATTEMPTS {
        let Attempt { subject, reply, .. } = attempt;
        // The control, on a server that it may ruin: inside the account the answer has an effect.
        let ruin = World::new().await;
        let before = beside_its_own(&ruin).await;
        make(&ruin.inside().await, attempt, "$JS.API.").await;
        let start = Instant::now();
        while beside_its_own(&ruin).await == before {
            assert!(start.elapsed() < PATIENCE, "{subject} with reply {reply} does nothing even inside");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let took = start.elapsed();

        for north in &norths {
            // What an earlier attempt took is there again.
            world.fill().await;
            let before = beside_its_own(&world).await;
            make(north, attempt, "WORKJS.").await;
            // Nothing tells of what does not happen: ten times as long as it takes where it does.
            tokio::time::sleep((took * 10).clamp(Duration::from_millis(50), Duration::from_secs(1))).await;
            assert_eq!(beside_its_own(&world).await, before, "{subject} with reply {reply}");
        }
    }
}

/// Everything that is stored, less what a runner's requests change of themselves.
async fn beside_its_own(world: &World) -> Vec<Stored> {
    let mut contents = world.contents().await;
    let own = [
        ("WORK", "work.north."),
        ("REPORTS", "report.north."),
        ("LOGS", "log.north."),
        ("BEATS", "beat.runner.north"),
        ("BLOBS", "blob.patch.ffff."),
    ];
    contents.retain(|Stored { stream, subject, .. }| {
        !own.iter().any(|(of, prefix)| stream == of && subject.starts_with(prefix))
    });
    contents
}
