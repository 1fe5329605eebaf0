//! What a runner must not come to know: the log, others' tickets, reports, lines and patches, and what there is at all.

use futures::StreamExt as _;

use crate::raw::PATIENCE;
use crate::world::{STREAMS, World};

/// Whether an answer brings what was asked for.
fn tells(answer: Option<async_nats::Message>) -> bool {
    answer.is_some_and(|answer| {
        answer.status.is_none() && !String::from_utf8_lossy(&answer.payload).contains("\"error\"")
    })
}

/// Every call that reads, as what comes after the API's prefix, and its payload.
fn questions() -> Vec<(String, String)> {
    let mut questions: Vec<(String, String)> = [
        "INFO",
        "STREAM.NAMES",
        "STREAM.LIST",
        "CONSUMER.NAMES.WORK",
        "CONSUMER.LIST.WORK",
        "CONSUMER.INFO.WORK.south-ticket",
    ]
    .map(|call| (call.to_owned(), String::new()))
    .into();
    questions.push(("CONSUMER.MSG.NEXT.WORK.south-ticket".into(), r#"{"batch":1,"no_wait":true}"#.into()));
    for stream in STREAMS {
        questions.push((format!("STREAM.INFO.{stream}"), String::new()));
        questions.push((format!("STREAM.MSG.GET.{stream}"), r#"{"last_by_subj":">"}"#.into()));
        let selections = [
            r#"{"last_by_subj":">"}"#,
            r#"{"seq":1,"next_by_subj":">"}"#,
            r#"{"seq":1,"next_by_subj":">","batch":10}"#,
            r#"{"multi_last":[">"],"batch":10}"#,
        ];
        questions.extend(selections.map(|selection| (format!("DIRECT.GET.{stream}"), selection.to_owned())));
        questions.push((format!("DIRECT.GET.{stream}.>"), String::new()));
        // A queue of work takes no second consumer over the same subjects; every other stream does.
        if stream != "WORK" {
            let policy =
                r#""config":{"ack_policy":"none","deliver_policy":"all","inactive_threshold":1000000000"#;
            let anonymous = format!(r#"{{"stream_name":"{stream}",{policy}}}}}"#);
            let named = format!(r#"{{"stream_name":"{stream}",{policy},"name":"spy"}}}}"#);
            let durable = format!(r#"{{"stream_name":"{stream}",{policy},"durable_name":"spy2"}}}}"#);
            questions.push((format!("CONSUMER.CREATE.{stream}"), anonymous));
            questions.push((format!("CONSUMER.CREATE.{stream}.spy"), named));
            questions.push((format!("CONSUMER.DURABLE.CREATE.{stream}.spy2"), durable));
        }
    }
    questions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_reads_nothing_through_the_api() {
    let world = World::new().await;
    let (norths, anything) = (world.norths().await, world.anything().await);
    for (call, payload) in questions() {
        for (north, api) in norths.iter().flat_map(|north| [(north, "$JS.API."), (north, "WORKJS.")]) {
            let answer = north.ask(&format!("{api}{call}"), &payload).await;
            assert!(answer.is_none(), "{api}{call} {payload} answers {answer:?}");
        }
        let control = anything.ask(&format!("$JS.API.{call}"), &payload).await;
        assert!(tells(control.clone()), "the control: {call} {payload} answers {control:?}");
    }
}

/// Every way of listening to others.
const LISTENING: [&str; 15] = [
    ">",
    "*",
    "*.>",
    "ev.>",
    "work.south.>",
    "work.north.>",
    "report.>",
    "log.south.>",
    "blob.>",
    "_INBOX.>",
    "_INBOX_runner_south.>",
    "_R_.>",
    "$JS.>",
    "$JS.ACK.>",
    "$SYS.>",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_listens_to_nobody() {
    let world = World::new().await;
    let (norths, anything) = (world.norths().await, world.anything_there().await);
    for subject in LISTENING {
        for north in &norths {
            assert!(north.subscribe(subject).await.is_none(), "{subject} can be subscribed to");
            let in_group = north.subscribe_in_group(subject).await;
            assert!(in_group.is_none(), "{subject} can be subscribed to in a group");
        }
        assert!(anything.subscribe(subject).await.is_some(), "the control: {subject}");
    }
    for north in &norths {
        assert!(north.subscribe("_INBOX_runner_north.mine").await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_wider_right_a_runner_would_hear_what_another_is_told() {
    let world = World::new().await;
    let south = world.user("runner-south", "_INBOX_runner_south").await;
    let control = world.anything_there().await;
    let mut heard = control.subscribe("_INBOX_runner_south.>").await.unwrap();
    let ticket =
        south.ask("WORKJS.CONSUMER.MSG.NEXT.WORK.south-ticket", r#"{"batch":1,"no_wait":true}"#).await;
    assert_eq!(ticket.unwrap().payload.as_ref(), b"a ticket of south");
    let heard = tokio::time::timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
    assert_eq!(heard.payload.as_ref(), b"a ticket of south");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_reads_its_own_queue() {
    let world = World::new().await;
    for north in world.norths().await {
        world.fill().await;
        let ticket =
            north.ask("WORKJS.CONSUMER.MSG.NEXT.WORK.north-ticket", r#"{"batch":1,"no_wait":true}"#).await;
        assert_eq!(ticket.unwrap().payload.as_ref(), b"a ticket of north");
    }
}
