//! The envelope: what is written into a message's headers is what is read back.

use events::envelope::{Actor, NewEvent, Origin, Recorded, event_id, message_id};
use events::id::{CommandId, EventId, ExecutionId, JobId};
use events::{Aggregate, Event, Timestamp, Undecodable, job};
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use uuid::Uuid;

use crate::arbitrary::any_event;

/// Text of any kind, and often of what stands for something in a header.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[%0-9a-f\"\r\n :]{0,9}"]
}

fn actor() -> impl Strategy<Value = Actor> {
    (any::<bool>(), text())
        .prop_map(|(person, name)| if person { Actor::user(&name) } else { Actor::service(&name) })
}

/// Any event with its envelope.
pub(crate) fn new_event() -> impl Strategy<Value = NewEvent> {
    let origin = (any::<u128>(), actor(), text(), option::of(any::<u128>()), option::of(text())).prop_map(
        |(command, actor, correlation, causation, trace_parent)| Origin {
            command: CommandId::from_uuid(Uuid::from_u128(command)),
            actor,
            correlation,
            causation: causation.map(|bits| EventId::from_uuid(Uuid::from_u128(bits))),
            trace_parent,
        },
    );
    // From 1970 to 2096, with the microseconds that a header holds.
    let time = (0..4_000_000_000_000_000i64).prop_map(|us| Timestamp::from_timestamp_micros(us).unwrap());
    (any_event(), time, origin).prop_map(|((aggregate, event), time, origin)| NewEvent {
        aggregate,
        event,
        time,
        origin,
    })
}

fn read(event: &NewEvent, headers: &[(&'static str, String)]) -> Result<Recorded, Undecodable> {
    let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    Recorded::from_message(90_210, &event.subject(), header, &event.event.to_json().unwrap())
}

proptest! {
    #[test]
    fn an_event_reads_back_from_its_message(event in new_event()) {
        let headers = event.headers();
        let recorded = read(&event, &headers).unwrap();
        prop_assert_eq!(recorded, Recorded {
            sequence: 90_210,
            id: event.id(),
            time: event.time,
            actor: event.origin.actor,
            correlation: event.origin.correlation,
            causation: event.origin.causation,
            aggregate: event.aggregate,
            event: event.event,
        });
    }

    #[test]
    fn no_text_breaks_out_of_its_header(event in new_event()) {
        for (name, value) in event.headers() {
            prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{name}: {value:?}");
        }
    }

    #[test]
    fn any_text_in_a_header_is_read_without_a_panic(event in new_event(), name in 0..9usize, text: String) {
        let mut headers = event.headers();
        headers[name].1 = text;
        let _ = read(&event, &headers);
    }

    #[test]
    fn any_subject_and_payload_are_read_without_a_panic(event in new_event(), subject: String, payload: Vec<u8>) {
        let headers = event.headers();
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        let _ = Recorded::from_message(7, &subject, header, &payload);
        let _ = Recorded::from_message(7, &event.subject(), header, &payload);
    }
}

#[test]
fn a_command_makes_the_same_event_again_and_another_one_elsewhere() {
    use events::Aggregate;
    use events::id::{ActionId, ExecutionId, JobId};
    let command = |bits: u128| CommandId::from_uuid(Uuid::from_u128(bits));
    let action = |name: &str| Aggregate::Action(ActionId::named(name));
    assert_eq!(event_id(command(7), &action("tidy")), event_id(command(7), &action("tidy")));
    assert_ne!(event_id(command(7), &action("tidy")), event_id(command(9_000), &action("tidy")));
    assert_ne!(event_id(command(7), &action("tidy")), event_id(command(7), &action("sort")));
    let job =
        |bits: u128| Aggregate::Job(ExecutionId::derived(&["e"]), JobId::from_uuid(Uuid::from_u128(bits)));
    assert_ne!(event_id(command(7), &job(1)), event_id(command(7), &job(9_000)));
    // Stored for ever: a repeated command must find its event, whichever build wrote it.
    let id = event_id(command(7), &action("tidy"));
    assert_eq!(id.to_string(), "event_0za05ym907a79aqj5pjvpefyxf");
}

#[test]
fn a_message_without_its_envelope_is_refused_by_the_name_of_what_is_missing() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let event = new_event().new_tree(&mut runner).unwrap().current();
    for missing in ["ce-id", "ce-time", "ce-dataversion", "ce-actor", "ce-correlationid"] {
        let headers: Vec<_> = event.headers().into_iter().filter(|(name, _)| *name != missing).collect();
        let error = read(&event, &headers).unwrap_err();
        assert!(matches!(error, Undecodable::Header(name) if name == missing), "{error}");
    }
    assert_eq!(message_id(|_| None), None);
    assert_eq!(message_id(|name| (name == "ce-id").then_some("event_of_nothing")), None);
}

#[test]
fn an_event_is_shown_in_one_shape() {
    let (execution, job) = (ExecutionId::derived(&["e"]), JobId::derived(&["j"]));
    let recorded = Recorded {
        sequence: 90_210,
        id: EventId::derived(&["x"]),
        time: "2026-05-06T07:08:09.000123Z".parse().unwrap(),
        actor: Actor::service("scheduler"),
        correlation: execution.to_string(),
        causation: None,
        aggregate: Aggregate::Job(execution, job),
        event: Event::Job(job::Started { attempt: 3 }.into()),
    };
    let shown = serde_json::to_value(recorded.document().unwrap()).unwrap();
    let expected = serde_json::json!({
        "sequence": 90_210,
        "id": recorded.id.to_string(),
        "time": "2026-05-06T07:08:09.000123Z",
        "actor": "service:scheduler",
        "correlation": execution.to_string(),
        "causation": null,
        "aggregate": job.to_string(),
        "execution": execution.to_string(),
        "type": "job.started",
        "version": 1,
        "data": { "attempt": 3 },
    });
    assert_eq!(shown, expected);
}
