//! Definitions that are right, in both formats.

use std::fs;
use std::path::Path;

use spec::{Context, Kind};

use crate::given::{accepted, batch};

#[test]
fn the_examples_are_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let text = fs::read_to_string(folder.join("house-rules.batch.yaml")).unwrap();
    let definition = accepted(batch(&text));
    assert_eq!(definition.kind, Kind::BatchSpec { version: 1 });
    assert_eq!(definition.name, "house-rules");
    assert_eq!(definition.steps.len(), 2);
    let context = Context {
        repository: spec::Repository { name: "example/one".to_owned(), ..Default::default() },
        ..Context::default()
    };
    let (name, value) = &definition.steps[1].env[0];
    assert_eq!((name.as_str(), value.render(&context)), ("REPOSITORY", Ok("example/one".to_owned())));
}
