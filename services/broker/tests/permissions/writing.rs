//! What a runner must not do: state facts, speak for others, take their tickets off, change streams and queues.

use std::time::{Duration, Instant};

use events::id::{ExecutionId, JobId};
use events::report::{Report, What};
use uuid::Uuid;

use crate::raw::{PATIENCE, Raw};
use crate::world::{STREAMS, World};

/// Every message and every call that would change something which is not the runner's.
fn deeds() -> Vec<(String, String)> {
    let messages = [
        "ev.execution.one.completed",
        "ev.runner.north.registered",
        "ev.execution.one.job.two.succeeded",
        "ev.enrollment.north.enrolled",
        "work.south.ticket",
        "work.north.ticket",
        "work.south.control",
        "report.south.job.1",
        "log.south.job.1",
        "beat.runner.south",
        "beat.projector",
        "blob.source.ffff.0",
        "blob.log.ffff.0",
        "blob.plan.ffff.0",
        "blob.scope.ffff.0",
        "cache.step.ffff",
        "cache.image.ffff",
        "dead.scheduler",
        "retry.projector",
    ];
    let mut deeds: Vec<(String, String)> = messages.map(|to| (to.to_owned(), "forged".to_owned())).into();
    for stream in STREAMS {
        // The log refuses to be purged or to lose a message, whoever asks.
        if stream != "EVENTS" {
            deeds.push((format!("$JS.API.STREAM.PURGE.{stream}"), String::new()));
        }
        deeds.push((format!("$JS.API.STREAM.DELETE.{stream}"), String::new()));
    }
    deeds.push(("$JS.API.STREAM.MSG.DELETE.LOGS".to_owned(), r#"{"seq":1}"#.to_owned()));
    let consumer = r#"{"stream_name":"WORK","config":{"durable_name":"spy","ack_policy":"explicit","filter_subject":"work.west.ticket"}}"#;
    deeds.push(("$JS.API.CONSUMER.DURABLE.CREATE.WORK.spy".to_owned(), consumer.to_owned()));
    deeds.push(("$JS.API.CONSUMER.DELETE.WORK.south-ticket".to_owned(), String::new()));
    deeds.push(("$JS.API.CONSUMER.DELETE.WORK.north-ticket".to_owned(), String::new()));
    deeds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_changes_nothing_but_its_own() {
    let world = World::new().await;
    let norths = world.norths().await;
    for (subject, payload) in deeds() {
        let before = world.contents().await;
        let names = [subject.clone(), subject.replace("$JS.API.", "WORKJS.")];
        for (north, subject) in norths.iter().flat_map(|north| names.iter().map(move |name| (north, name))) {
            north.publish(subject, None, &payload).await;
            assert!(!north.accepted().await, "{subject} is not refused");
        }
        assert_eq!(world.contents().await, before, "{subject}");

        // The control, on a server that it may ruin. A call is carried out for whoever can be answered.
        let ruin = World::new().await;
        let before = ruin.contents().await;
        ruin.anything().await.ask(&subject, &payload).await.unwrap();
        let start = Instant::now();
        while ruin.contents().await == before {
            assert!(start.elapsed() < PATIENCE, "the control: {subject} changes nothing");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// What can be said of a message that was delivered.
const WORDS: [&str; 4] = ["+ACK", "+TERM", "-NAK", "+WPI"];

/// South takes a ticket; returns the subject under which it is acknowledged.
async fn take(south: &Raw) -> String {
    let next = "WORKJS.CONSUMER.MSG.NEXT.WORK.south-ticket";
    let delivered = south.ask(next, r#"{"batch":1,"no_wait":true}"#).await.unwrap();
    assert_eq!(delivered.payload.as_ref(), b"a ticket of south");
    delivered.reply.unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_says_nothing_of_anothers_ticket() {
    let world = World::new().await;
    let south = world.user("runner-south", "_INBOX_runner_south").await;
    let norths = world.norths().await;
    for word in WORDS {
        let acknowledge = take(&south).await;
        let before = world.contents().await;
        for north in &norths {
            north.publish(&acknowledge, None, word).await;
            assert!(!north.accepted().await, "{word} on {acknowledge} is not refused");
        }
        assert_eq!(world.contents().await, before, "{word}");

        let control = world.anything().await;
        control.ask(&acknowledge, word).await.unwrap();
        match word {
            "+ACK" | "+TERM" => assert_ne!(world.contents().await, before, "the control: {word}"),
            // The ticket is there to be taken once more.
            "-NAK" => drop(take(&south).await),
            _ => {}
        }
        world.fill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_has_no_part_in_flow_control_and_the_system() {
    let world = World::new().await;
    let (norths, control) = (world.norths().await, world.anything().await);
    for subject in
        ["$JS.FC.EVENTS.x.y", "$JS.SNAPSHOT.ACK.EVENTS.x", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO"]
    {
        for north in &norths {
            north.publish(subject, None, "").await;
            assert!(!north.accepted().await, "{subject} is not refused");
        }
        control.publish(subject, None, "").await;
        assert!(control.accepted().await, "the control: {subject}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_cannot_guess_the_ids_of_anothers_messages() {
    let world = World::new().await;
    let reports = [Report {
        execution: ExecutionId::from_uuid(Uuid::from_u128(1)),
        job: JobId::from_uuid(Uuid::from_u128(2)),
        attempt: 1,
        number: 1,
        time: chrono::Utc::now(),
        what: What::Started,
    }];
    let runner = "south".parse().unwrap();
    // Everything that north can know of the report is the same; only the connection differs.
    for _ in 0..2 {
        world.runner("south").await.report(&runner, &reports).await.unwrap();
    }
    let ids = world.message_ids("REPORTS").await;
    assert_eq!(ids.len(), 2, "the second was dropped: {ids:?}");

    // The control: with the id, a message of north's own takes the place of south's.
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", ids[0].as_str());
    let dropped = world.north().await.ask_with("report.north.job.1", headers, "in its place").await.unwrap();
    assert!(String::from_utf8_lossy(&dropped.payload).contains("\"duplicate\": true"), "{dropped:?}");
}
