//! What services and runners of different builds send one another, and the documents that they leave.

use events::beat::{ProjectorBeat, RunnerBeat};
use events::document::{Plan, Preview, Scope};
use events::report::Report;
use events::ticket::{Control, Ticket};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::coverage::assert_covered;
use super::{goldens, without_nulls};

/// A shape that crosses a process border, by the first part of its golden files' names.
struct Shape {
    name: &'static str,
    schema: Schema,
    reencode: fn(&str) -> serde_json::Result<Value>,
}

fn shape<T: Serialize + DeserializeOwned + JsonSchema>(name: &'static str) -> Shape {
    let reencode = |text: &str| serde_json::to_value(serde_json::from_str::<T>(text)?);
    Shape { name, schema: schema_for!(T), reencode }
}

fn shapes() -> [Shape; 8] {
    [
        shape::<Ticket>("ticket"),
        shape::<Control>("control"),
        shape::<Report>("report"),
        shape::<RunnerBeat>("runner_beat"),
        shape::<ProjectorBeat>("projector_beat"),
        shape::<Scope>("scope"),
        shape::<Plan>("plan"),
        shape::<Preview>("preview"),
    ]
}

#[test]
fn every_wire_golden_decodes_and_encodes_to_the_same_json() {
    for golden in goldens("wire") {
        let shape = shapes().into_iter().find(|shape| shape.name == golden.name[0]).expect("a known shape");
        assert_eq!((shape.reencode)(&golden.text).unwrap(), golden.value, "{}", golden.title());
        let short = without_nulls(&golden.value).to_string();
        assert_eq!((shape.reencode)(&short).unwrap(), golden.value, "{} without nulls", golden.title());
    }
}

#[test]
fn every_tag_and_every_optional_field_stands_in_a_wire_golden() {
    let goldens = goldens("wire");
    for shape in shapes() {
        let values: Vec<_> = goldens
            .iter()
            .filter(|golden| golden.name[0] == shape.name)
            .map(|golden| &golden.value)
            .collect();
        assert!(!values.is_empty(), "{} has no golden", shape.name);
        assert_covered(shape.name, &shape.schema, &values);
    }
}

#[test]
fn a_runner_of_an_earlier_build_does_not_say_what_took_an_attempt() {
    let golden = goldens("wire").into_iter().find(|golden| golden.name == ["report", "abandoned"]).unwrap();
    let mut earlier = golden.value.clone();
    earlier["what"].as_object_mut().unwrap().remove("cause");
    let read: Report = serde_json::from_value(earlier).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), golden.value);
}
