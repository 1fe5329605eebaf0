//! Definitions: what a large one costs to read, check and render.

use std::fmt::Write as _;
use std::time::Instant;

use spec::{Context, Given, Source};

use crate::figure::{Figure, percentile};

/// How many groups it has, and how often it is measured.
const GROUPS: usize = 5_000;
const ROUNDS: usize = 20;

/// A definition of many groups, from its text to the changesets of a job that changed a file of each.
pub(crate) fn many_groups() -> Vec<Figure> {
    let mut text = String::from("name: groups\ntransformChanges:\n  group:\n");
    for number in 0..GROUPS {
        writeln!(text, "    - directory: services/team-{}/service-{number}", number % 100).unwrap();
        writeln!(text, "      branch: batch/service-{number}").unwrap();
    }
    text.push_str("changesetTemplate:\n  title: ${{ repository.name }}\n  branch: batch-rest\n  commit: { message: m }\n");
    let path = |number| format!("services/team-{}/service-{number}/src/main.go", number % 100);
    let paths: Vec<String> = (0..GROUPS).map(path).collect();
    let mut milliseconds: Vec<f64> = (0..ROUNDS).map(|_| once(&text, &paths)).collect();
    milliseconds.sort_by(f64::total_cmp);
    vec![Figure::within("spec_5000_groups_ms", "ms", percentile(&milliseconds, 0.5), 100.0)]
}

fn once(text: &str, paths: &[String]) -> f64 {
    let given = Given::default();
    let source = Source {
        file_name: "groups.batch.yaml",
        text,
        given: &given,
        command_image: spec::DEFAULT_COMMAND_IMAGE,
    };
    let base = "refs/heads/main".parse().expect("a branch");
    let mut context = Context::default();
    context.repository.name = "example.org/monorepo".to_owned();
    let start = Instant::now();
    let definition = spec::parse(&source).expect("a good definition").definition;
    let template = definition.changeset_template.expect("a template");
    let shares = template
        .render_shares(&definition.transform_changes, (&context, &base), paths.iter().map(String::as_str))
        .expect("branches that differ");
    let milliseconds = start.elapsed().as_secs_f64() * 1_000.0;
    assert_eq!(shares.len(), GROUPS);
    milliseconds
}
