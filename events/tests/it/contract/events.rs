//! Every version of every event, as the log may hold it.

use events::{AggregateKind, Event, EventType};

use super::coverage::assert_covered;
use super::{Golden, goldens, without_nulls};

/// A golden file of an event.
pub(crate) struct EventGolden {
    pub(crate) kind: AggregateKind,
    pub(crate) event_type: &'static EventType,
    pub(crate) version: u32,
    pub(crate) file: Golden,
}

/// Every golden of an event, by name.
pub(crate) fn event_goldens() -> Vec<EventGolden> {
    goldens("").into_iter().map(identify).collect()
}

fn identify(file: Golden) -> EventGolden {
    let [kind, name, version, ..] = file.name.as_slice() else {
        panic!("{} is not <aggregate>.<type>.v<version>", file.title());
    };
    let kind = *AggregateKind::ALL.iter().find(|known| known.name() == kind).expect("an aggregate");
    let event_type = kind.event_types().iter().find(|known| known.name == name);
    let event_type = event_type.unwrap_or_else(|| panic!("{} is of no known type", file.title()));
    let version = version.strip_prefix('v').and_then(|digits| digits.parse().ok()).expect("a version");
    EventGolden { kind, event_type, version, file }
}

/// Every type with its aggregate's kind.
pub(crate) fn event_types() -> impl Iterator<Item = (AggregateKind, &'static EventType)> {
    AggregateKind::ALL.into_iter().flat_map(|kind| kind.event_types().iter().map(move |known| (kind, known)))
}

fn decode(golden: &EventGolden, json: &[u8]) -> Event {
    Event::from_json(golden.kind, golden.event_type.name, golden.version, json)
        .unwrap_or_else(|error| panic!("{}: {error:?}", golden.file.title()))
}

#[test]
fn every_version_of_every_type_has_a_golden() {
    let goldens = event_goldens();
    for (kind, event_type) in event_types() {
        for version in 1..=event_type.version {
            let there = goldens.iter().any(|golden| {
                golden.kind == kind && golden.event_type.name == event_type.name && golden.version == version
            });
            assert!(there, "{}.{} has no golden of version {version}", kind.name(), event_type.name);
        }
    }
}

#[test]
fn every_golden_decodes_and_those_of_the_current_version_encode_to_the_same_json() {
    for golden in event_goldens() {
        let event = decode(&golden, golden.file.text.as_bytes());
        assert_eq!(event.name(), golden.event_type.name);
        if golden.version == event.version() {
            assert_eq!(event.to_value().unwrap(), golden.file.value, "{}", golden.file.title());
        }
    }
}

#[test]
fn what_is_absent_may_be_null_or_left_out() {
    for golden in event_goldens() {
        let short = without_nulls(&golden.file.value).to_string();
        let whole = decode(&golden, golden.file.text.as_bytes());
        assert_eq!(decode(&golden, short.as_bytes()), whole, "{}", golden.file.title());
    }
}

#[test]
fn a_field_that_this_build_does_not_know_is_passed_over() {
    for golden in event_goldens() {
        let mut longer = golden.file.value.clone();
        longer["added_later"] = serde_json::json!({ "by": ["a", "newer", "build"] });
        let whole = decode(&golden, golden.file.text.as_bytes());
        assert_eq!(decode(&golden, longer.to_string().as_bytes()), whole, "{}", golden.file.title());
    }
}

#[test]
fn every_optional_field_is_set_in_one_golden_and_absent_in_another() {
    let goldens = event_goldens();
    for (kind, event_type) in event_types() {
        let values: Vec<_> = goldens
            .iter()
            .filter(|golden| golden.kind == kind && golden.event_type.name == event_type.name)
            .filter(|golden| golden.version == event_type.version)
            .map(|golden| &golden.file.value)
            .collect();
        assert_covered(&format!("{}.{}", kind.name(), event_type.name), &(event_type.schema)(), &values);
    }
}

#[test]
fn what_an_earlier_version_did_not_say_follows_from_what_it_said() {
    use events::job::{Event as JobEvent, FailureOrigin, LossCause};
    let read = |name: &str| {
        let golden = event_goldens().into_iter().find(|golden| golden.file.title() == name).unwrap();
        match decode(&golden, golden.file.text.as_bytes()) {
            Event::Job(JobEvent::Failed(failed)) => format!("{:?}", failed.origin),
            Event::Job(JobEvent::Lost(lost)) => format!("{:?} {:?}", lost.cause, lost.retry_at),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read("job.failed.v1"), format!("{:?}", FailureOrigin::Job));
    assert_eq!(read("job.failed.v2.lost"), format!("{:?}", FailureOrigin::Infrastructure));
    assert_eq!(read("job.failed.v1.lost"), format!("{:?}", FailureOrigin::Infrastructure));
    assert_eq!(read("job.lost.v1"), format!("{:?} None", LossCause::Runner));
}

#[test]
fn an_unknown_type_and_a_later_version_are_told_apart_from_garbage() {
    use events::Undecodable;
    let read = |name, version, json: &str| {
        Event::from_json(AggregateKind::Job, name, version, json.as_bytes()).unwrap_err()
    };
    assert!(matches!(read("painted", 1, "{}"), Undecodable::UnknownType { kind: "job", .. }));
    assert!(matches!(read("started", 90, "{}"), Undecodable::TooNew { version: 90, newest: 1, .. }));
    assert!(matches!(read("started", 1, "{}"), Undecodable::Malformed { kind: "job", .. }));
    assert!(matches!(read("started", 1, "\u{1}"), Undecodable::Malformed { .. }));
}
