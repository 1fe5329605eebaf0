//! What a subscriber must not do: anything but to follow its own events and to acknowledge them.
//!
//! It cannot make its consumer itself, because a consumer that is made with another deliver subject has the server speak to our
//! services there, with its own rights. The operator makes it, and each attack here finds no way around that.

use std::time::{Duration, Instant};

use futures::StreamExt as _;

use crate::raw::{PATIENCE, Raw};
use crate::world::World;

/// A consumer to which the server pushes, under a subject of its maker's choice.
const PUSHED: &str = r#"{"stream_name":"EVENTS","config":{"name":"sub-spy","durable_name":"sub-spy","ack_policy":"none",
    "deliver_policy":"all","filter_subject":"ev.execution.>","deliver_subject":"enroll"}}"#;
const PULLED: &str =
    r#"{"stream_name":"EVENTS","config":{"durable_name":"sub-spy","ack_policy":"explicit"}}"#;
const OF_BLOBS: &str =
    r#"{"stream_name":"BLOBS","config":{"durable_name":"sub-spy","ack_policy":"explicit"}}"#;
const MIRROR: &str = r#"{"name":"MIRROR","storage":"file","mirror":{"name":"EVENTS"}}"#;
const SOURCED: &str = r#"{"name":"SOURCED","storage":"file","sources":[{"name":"BLOBS"}]}"#;

/// Every call that would change something, and has an effect for whoever may make it.
const DEEDS: &[(&str, &str)] = &[
    ("ev.execution.one.completed", "forged"),
    ("work.south.control", "forged"),
    ("blob.source.ffff.0", "forged"),
    ("dead.scheduler", "forged"),
    ("report.south.job.1", "forged"),
    ("$JS.API.CONSUMER.CREATE.EVENTS.sub-spy.ev.execution.>", PUSHED),
    ("$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.sub-spy", PULLED),
    ("$JS.API.CONSUMER.CREATE.EVENTS.sub-spy", PULLED),
    ("$JS.API.CONSUMER.CREATE.BLOBS.sub-spy", OF_BLOBS),
    ("$JS.API.CONSUMER.DELETE.EVENTS.sub-audit", ""),
    ("$JS.API.CONSUMER.DELETE.EVENTS.sub-other", ""),
    ("$JS.API.CONSUMER.DELETE.WORK.south-ticket", ""),
    ("$JS.API.STREAM.CREATE.MIRROR", MIRROR),
    ("$JS.API.STREAM.CREATE.SOURCED", SOURCED),
    ("$JS.API.STREAM.PURGE.LOGS", ""),
    ("$JS.API.STREAM.DELETE.EVENTS", ""),
    ("$JS.API.STREAM.MSG.DELETE.LOGS", r#"{"seq":1}"#),
];

/// The names that a subscriber may try for a call.
fn names(subject: &str) -> [String; 2] {
    [subject.to_owned(), subject.replace("$JS.API.", "EVENTSJS.")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_changes_nothing() {
    let world = World::new().await;
    let [audit, ..] = world.subscribers().await;
    for (subject, payload) in DEEDS {
        let before = world.contents().await;
        for name in names(subject) {
            audit.publish(&name, None, payload).await;
            assert!(!audit.accepted().await, "{name} is not refused");
        }
        assert_eq!(world.contents().await, before, "{subject}");

        // The control, on a server that it may ruin.
        let ruin = World::new().await;
        ruin.subscribers().await;
        let before = ruin.contents().await;
        ruin.anything().await.ask(subject, payload).await.unwrap();
        wait_for(&format!("the control: {subject}"), async || ruin.contents().await != before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_makes_a_consumer_could_speak_to_a_service() {
    let world = World::new().await;
    let [audit, ..] = world.subscribers().await;
    let mut registrar = world.user("registrar", "_INBOX_registrar").await.subscribe("enroll").await.unwrap();
    let create = "$JS.API.CONSUMER.CREATE.EVENTS.sub-spy.ev.execution.>";
    for name in names(create) {
        assert!(audit.ask(&name, PUSHED).await.is_none(), "{name} is not refused");
    }
    // The control: the server sends where newcomers, and nobody else, may.
    world.anything().await.ask(create, PUSHED).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, registrar.next()).await.unwrap().unwrap();
    assert_eq!(heard.payload.as_ref(), b"an event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_meddles_with_no_consumer_and_no_stream() {
    let world = World::new().await;
    let [audit, ..] = world.subscribers().await;
    let control = world.anything().await;
    for subject in [
        "$JS.API.CONSUMER.PAUSE.EVENTS.sub-audit",
        "$JS.API.CONSUMER.PAUSE.EVENTS.sub-other",
        "$JS.API.CONSUMER.RESET.EVENTS.sub-audit",
        "$JS.API.CONSUMER.UNPIN.EVENTS.sub-other",
        "$JS.API.CONSUMER.LEADER.STEPDOWN.EVENTS.sub-other",
        "$JS.API.STREAM.UPDATE.EVENTS",
        "$JS.API.STREAM.SNAPSHOT.EVENTS",
        "$JS.API.STREAM.RESTORE.EVENTS",
        "$JS.FC.EVENTS.sub-other.1",
        "$JS.ACK.EVENTS.scheduler.1.1.1.1.0",
        "enroll",
        "$SYS.REQ.SERVER.PING",
    ] {
        for name in names(subject) {
            audit.publish(&name, None, "not even JSON").await;
            assert!(!audit.accepted().await, "{name} is not refused");
        }
        control.publish(subject, None, "not even JSON").await;
        assert!(control.accepted().await, "the control: {subject}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_reads_nothing_but_its_own_events() {
    let world = World::new().await;
    let [audit, idle, _] = world.subscribers().await;
    let control = world.anything().await;
    for (subject, payload) in [
        ("$JS.API.CONSUMER.MSG.NEXT.EVENTS.sub-other", NO_WAIT),
        ("$JS.API.CONSUMER.MSG.NEXT.WORK.south-ticket", NO_WAIT),
        ("$JS.API.CONSUMER.INFO.EVENTS.sub-other", ""),
        ("$JS.API.CONSUMER.LIST.EVENTS", ""),
        ("$JS.API.CONSUMER.NAMES.EVENTS", ""),
        ("$JS.API.DIRECT.GET.EVENTS", r#"{"last_by_subj":"ev.>"}"#),
        ("$JS.API.DIRECT.GET.EVENTS.ev.execution.one.requested", ""),
        ("$JS.API.DIRECT.GET.BLOBS.blob.log.cccc.0", ""),
        ("$JS.API.DIRECT.GET.LOGS", r#"{"seq":1}"#),
        ("$JS.API.STREAM.MSG.GET.EVENTS", r#"{"seq":1}"#),
        ("$JS.API.STREAM.INFO.EVENTS", ""),
        ("$JS.API.STREAM.NAMES", ""),
        ("$JS.API.INFO", ""),
    ] {
        for name in names(subject) {
            assert!(audit.ask(&name, payload).await.is_none(), "{name} is answered");
        }
        assert!(control.ask(subject, payload).await.is_some(), "the control: {subject}");
    }
    for subject in [
        ">",
        "ev.>",
        "ev.execution.*.completed",
        "$JS.>",
        "EVENTSJS.>",
        "_INBOX.>",
        "_INBOX_subscriber_other.>",
    ] {
        assert!(audit.subscribe(subject).await.is_none(), "it can subscribe to {subject}");
        assert!(
            audit.subscribe_in_group(subject).await.is_none(),
            "it can subscribe to {subject} in a group"
        );
    }
    // What is its own comes, and tells nothing of others.
    let own = audit.ask("EVENTSJS.CONSUMER.MSG.NEXT.EVENTS.sub-audit", NO_WAIT).await.unwrap();
    assert_eq!(own.payload.as_ref(), b"an event");
    let none = idle.ask("EVENTSJS.CONSUMER.MSG.NEXT.EVENTS.sub-idle", NO_WAIT).await.unwrap();
    assert_eq!((none.payload.len(), none.status.map(|status| status.as_u16())), (0, Some(404)));
    assert!(audit.ask("EVENTSJS.CONSUMER.INFO.EVENTS.sub-audit", "").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_says_nothing_of_anothers_event() {
    let world = World::new().await;
    let [audit, _, other] = world.subscribers().await;
    let next = "EVENTSJS.CONSUMER.MSG.NEXT.EVENTS.sub-other";
    let delivered = other.ask(next, NO_WAIT).await.unwrap();
    let acknowledge = delivered.reply.unwrap().to_string();
    for word in ["+ACK", "+TERM", "-NAK", "+WPI", "+NXT"] {
        audit.publish(&acknowledge, None, word).await;
        assert!(!audit.accepted().await, "{word} on {acknowledge} is not refused");
    }
    // The control: its own subscriber may, and it counts.
    let info = "EVENTSJS.CONSUMER.INFO.EVENTS.sub-other";
    let pending = async || {
        let answer = other.ask(info, "").await.unwrap();
        let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        info["num_ack_pending"].as_u64().unwrap()
    };
    assert_eq!(pending().await, 1);
    other.publish(&acknowledge, None, "+ACK").await;
    wait_for("the acknowledgement", async || pending().await == 0).await;
}

const NO_WAIT: &str = r#"{"batch":1,"no_wait":true}"#;
const FULL: &str = "$JS.API.CONSUMER.MSG.NEXT.EVENTS.sub-audit";
const EMPTY: &str = "$JS.API.CONSUMER.MSG.NEXT.EVENTS.sub-idle";
const INFO: &str = "$JS.API.CONSUMER.INFO.EVENTS.sub-audit";
/// Stands for the subject of an event that has been delivered.
const ACKNOWLEDGEMENT: &str = "$JS.ACK.EVENTS.sub-audit";

/// Every request that a subscriber may make, and for what it would like the answer to be taken.
const ATTEMPTS: &[(&str, &str, &str)] = &[
    (FULL, NO_WAIT, "ev.execution.one.completed"),
    (FULL, NO_WAIT, "work.south.ticket"),
    (FULL, NO_WAIT, "blob.source.ffff.0"),
    // Nothing there: the answer is a status without a payload, which is a valid call.
    (EMPTY, NO_WAIT, "$JS.API.STREAM.PURGE.LOGS"),
    (EMPTY, NO_WAIT, "$JS.API.STREAM.DELETE.WORK"),
    (EMPTY, NO_WAIT, "$JS.API.STREAM.DELETE.EVENTS"),
    (EMPTY, NO_WAIT, "$JS.API.CONSUMER.DELETE.EVENTS.sub-other"),
    (EMPTY, NO_WAIT, "$JS.API.CONSUMER.DELETE.WORK.south-ticket"),
    (EMPTY, NO_WAIT, "dead.scheduler"),
    (INFO, "", "ev.execution.one.completed"),
    (INFO, "", "report.south.job.1"),
    // An acknowledgement that asks for the next event, and one that wants to be confirmed.
    (ACKNOWLEDGEMENT, "+NXT", "work.south.control"),
    (ACKNOWLEDGEMENT, "+ACK", "$JS.API.STREAM.PURGE.LOGS"),
];

async fn make(raw: &Raw, (subject, payload, reply): (&str, &str, &str), api: &str) {
    let subject = match subject {
        ACKNOWLEDGEMENT => {
            let delivered = raw.ask(&FULL.replace("$JS.API.", api), NO_WAIT).await.unwrap();
            delivered.reply.unwrap().to_string()
        }
        _ => subject.replace("$JS.API.", api),
    };
    raw.publish(&subject, Some(reply), payload).await;
    assert!(
        raw.accepted().await,
        "{subject} is refused: the attempt has to be one that a subscriber may make"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_subject_of_a_subscriber_makes_the_server_do_nothing() {
    let world = World::new().await;
    let [audit, idle, _] = world.subscribers().await;
    for attempt in ATTEMPTS {
        let (subject, _, reply) = *attempt;
        // The control, on a server that it may ruin: inside the account the answer has an effect.
        let ruin = World::new().await;
        ruin.subscribers().await;
        // There is an event after the first.
        ruin.fill().await;
        let before = ruin.contents().await;
        let start = Instant::now();
        make(&ruin.inside_subscriber().await, *attempt, "$JS.API.").await;
        let what = format!("the control: {subject} with reply {reply}");
        wait_for(&what, async || ruin.contents().await != before).await;
        let took = start.elapsed();

        world.fill().await;
        let before = world.contents().await;
        make(if subject == EMPTY { &idle } else { &audit }, *attempt, "EVENTSJS.").await;
        // Nothing tells of what does not happen: ten times as long as it takes where it does.
        tokio::time::sleep((took * 10).clamp(Duration::from_millis(50), Duration::from_secs(1))).await;
        assert_eq!(world.contents().await, before, "{subject} with reply {reply}");
    }
}

async fn wait_for(what: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
