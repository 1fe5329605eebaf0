//! Batch specs that are right.

use std::fs;
use std::path::Path;
use std::time::Duration;

use events::document::Publication;
use spec::{
    Action, BatchChange, Code, Container, Context, Definition, Glob, Group, Import, Kind, Limits, Mount,
    Network, OnLogLimit, OutputFormat, PublicationRule, Published, Registry, Repository, Scope, Settings,
    Template, TransformChanges, WorkspaceRule,
};

use crate::given::{accepted, batch};

/// A definition that uses whatever there is.
pub(crate) const WHOLE: &str = r#"
version: 2
name: whole_thing-1.0
description: |
  Uses ${{ everything }}.
on:
  - repositoriesMatchingQuery: file:README.md count:10
  - repository: example/one
  - repository: example/two
    branch: next
  - repository: example/three
    branches: [main, refs/heads/next]
workspaces:
  - rootAtLocationOf: package.json
    in: example/*
    onlyFetchWorkspace: true
  - rootAtLocationOf: go.mod
steps:
  - run: echo ${{ repository.name }}
    container: alpine:3
    if: ${{ ne repository.name "other" }}
    outputs:
      found: { value: "${{ step.stdout }}" }
      data:
        value: "[1]"
        format: json
  - run: "true"
    container: ${{ batch_change.name }}:3
    patchwave:
      timeout: 90s
    env:
      LEVEL: high
      WHO: ${{ repository.name }}
      EMPTY: ""
    files:
      /tmp/a.txt: hello ${{ steps.path }}
      /tmp//b/./c: |
        text
    mount:
      - path: ./scripts//fix.sh
        mountpoint: /usr/local/bin/fix
      - { path: scripts/../data/, mountpoint: /data/ }
      - { path: ., mountpoint: /all }
  - run: cat ${{ join previous_step.modified_files " " }}
    container: alpine:3
    env:
      - ONE: "1"
      - TWO: yes
transformChanges:
  group:
    - directory: ./services//web/
      branch: refs/heads/web
    - { directory: ., branch: rest, repository: example/two }
importChangesets:
  - repository: example/one
    externalIDs: [12, "x-3"]
changesetTemplate:
  title: ${{ repository.name }}
  body: A body
  branch: |

    whole/${{ repository.branch }}/${{ steps.path }}

  fork: false
  commit:
    message: A message
    author:
      name: Anna
      email: anna@example.org
  published:
    - "*": draft
    - example/*@whole/main: true
    - example/two@refs/heads/whole/next: false
    - example/{a,b}: ~
patchwave:
  pool: big-ones
  labels: [gpu, "arch=arm64"]
  maxJobs: 20
  timeout: 1h30m
  stepTimeout: 10m
  queueTimeout: 24h
  network: none
  registries: [{ host: localhost:5000, username: bot, password: TOKEN }]
  limits:
    memory: 2GiB
    cpu: 1.5
    pids: 512
    workspaceBytes: 1.5GiB
    workspaceFiles: 100000
    imageBytes: 500MB
    logBytes: 1048576
    onLogLimit: fail
    logLineBytes: 64KiB
"#;

#[test]
fn the_examples_are_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let is_spec = |path: &Path| path.to_str().is_some_and(|path| path.ends_with(".batch.yaml"));
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let specs: Vec<_> = paths.filter(|path| is_spec(path)).collect();
    assert!(!specs.is_empty());
    for path in specs {
        accepted(batch(&fs::read_to_string(path).unwrap()));
    }
}

#[test]
fn every_key_is_read() {
    let definition = accepted(batch(WHOLE));
    assert_eq!(definition.kind, Kind::BatchSpec { version: 2 });
    assert_eq!(definition.name, "whole_thing-1.0");
    assert_eq!(definition.description, "Uses ${{ everything }}.\n");
    let repository = |name: &str, branches: &[&str]| Scope::Repository {
        name: name.to_owned(),
        branches: branches.iter().map(|&branch| branch.to_owned()).collect(),
    };
    let on = [
        Scope::Query { query: "file:README.md count:10".to_owned() },
        repository("example/one", &[]),
        repository("example/two", &["next"]),
        repository("example/three", &["main", "refs/heads/next"]),
    ];
    assert_eq!(definition.on, on);
    let rule = |file: &str, glob: &str, only_fetch_workspace| WorkspaceRule {
        root_at_location_of: file.to_owned(),
        repositories: Glob::new(glob).unwrap(),
        only_fetch_workspace,
    };
    assert_eq!(definition.workspaces, [rule("package.json", "example/*", true), rule("go.mod", "*", false)]);
    let group = |directory: &str, branch: &str, repository: Option<&str>| Group {
        directory: directory.to_owned(),
        branch: branch.parse().unwrap(),
        repository: repository.map(str::to_owned),
    };
    let groups =
        [group("services/web", "refs/heads/web", None), group("", "refs/heads/rest", Some("example/two"))];
    assert_eq!(definition.transform_changes.groups(), groups);
    let import = |id: &str| Import { repository: "example/one".to_owned(), external_id: id.to_owned() };
    assert_eq!(definition.import_changesets, [import("12"), import("x-3")]);
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    let settings = Settings {
        pool: Some("big-ones".to_owned()),
        labels: ["arch=arm64", "gpu"].map(str::to_owned).into(),
        max_jobs: Some(20),
        timeout: minutes(90),
        step_timeout: minutes(10),
        queue_timeout: minutes(24 * 60),
        network: Some(Network::None),
        registries: vec![Registry {
            host: "localhost:5000".to_owned(),
            username: "bot".to_owned(),
            password: "TOKEN".parse().unwrap(),
        }],
        limits: Limits {
            memory_bytes: Some(2 << 30),
            cpu_millis: Some(1500),
            pids: Some(512),
            workspace_bytes: Some(3 << 29),
            workspace_files: Some(100_000),
            image_bytes: Some(500_000_000),
            log_bytes: Some(1 << 20),
            on_log_limit: Some(OnLogLimit::Fail),
            log_line_bytes: Some(64 << 10),
        },
    };
    assert_eq!(definition.settings, settings);
}

#[test]
fn steps_are_read() {
    let definition = accepted(batch(WHOLE));
    let [first, second, third] = &definition.steps[..] else { panic!("three steps") };
    assert_eq!(image(&first.container), "alpine:3");
    assert_eq!(first.condition.as_ref().map(Template::source), Some("${{ ne repository.name \"other\" }}"));
    let outputs: Vec<_> = first.outputs.iter().map(|output| (output.name.as_str(), output.format)).collect();
    assert_eq!(outputs, [("found", OutputFormat::Text), ("data", OutputFormat::Json)]);
    assert!(second.condition.is_none() && second.outputs.is_empty());
    let timeouts = [first.timeout, second.timeout, third.timeout];
    assert_eq!(timeouts, [None, Some(Duration::from_secs(90)), None]);
    assert_eq!(script(&first.action), "echo example/one");
    assert_eq!((first.env.len(), first.files.len(), first.cache_dirs.len()), (0, 0, 0));
    assert_eq!(image(&second.container), "batch:3");
    assert_eq!(rendered(&second.env), [("LEVEL", "high"), ("WHO", "example/one"), ("EMPTY", "")].map(owned));
    assert_eq!(
        rendered(&second.files),
        [("/tmp/a.txt", "hello services/web"), ("/tmp/b/c", "text\n")].map(owned)
    );
    let mount =
        |path: &str, mountpoint: &str| Mount { path: path.to_owned(), mountpoint: mountpoint.to_owned() };
    let mounts = [mount("scripts/fix.sh", "/usr/local/bin/fix"), mount("data", "/data"), mount("", "/all")];
    assert_eq!(second.mounts, mounts);
    assert!(definition.mounts().eq(&mounts));
    assert_eq!(script(&third.action), "cat a.txt b.txt");
    assert_eq!(rendered(&third.env), [("ONE", "1"), ("TWO", "yes")].map(owned));
}

#[test]
fn the_changeset_template_is_read() {
    let definition = accepted(batch(WHOLE));
    let template = definition.changeset_template.unwrap();
    assert_eq!(template.fork, Some(false));
    assert_eq!(template.title.source(), "${{ repository.name }}");
    assert_eq!(template.body.as_ref().map(Template::source), Some("A body"));
    assert_eq!(template.author.as_ref().map(|author| author.email.source()), Some("anna@example.org"));
    let rule = |repository: &str, branch: Option<&str>, publication| PublicationRule {
        repository: Glob::new(repository).unwrap(),
        branch: branch.map(str::to_owned),
        publication,
    };
    let rules = vec![
        rule("*", None, Publication::Draft),
        rule("example/*", Some("whole/main"), Publication::Published),
        rule("example/two", Some("refs/heads/whole/next"), Publication::Unpublished),
        rule("example/{a,b}", None, Publication::Undecided),
    ];
    assert_eq!(template.published, Published::Rules(rules));
}

#[test]
fn a_name_is_enough() {
    let definition = accepted(batch("name: least"));
    let expected = Definition {
        kind: Kind::BatchSpec { version: 1 },
        name: "least".to_owned(),
        description: String::new(),
        on: Vec::new(),
        workspaces: Vec::new(),
        steps: Vec::new(),
        transform_changes: TransformChanges::default(),
        import_changesets: Vec::new(),
        changeset_template: None,
        settings: Settings::default(),
    };
    assert_eq!(definition, expected);
}

#[test]
fn a_key_that_says_nothing_is_as_if_it_were_not_there() {
    let text = "name: least\nversion:\ndescription: ~\non:\nsteps: []\nworkspaces:\nchangesetTemplate:\n\
                patchwave:\n";
    assert_eq!(accepted(batch(text)), accepted(batch("name: least")));
}

#[test]
fn a_version_in_another_form_is_accepted_with_a_warning() {
    for (written, version) in [("v2", 2), ("\"3\"", 3), ("V1", 1)] {
        let parsed = batch(&format!("name: n\nversion: {written}")).unwrap();
        assert_eq!(parsed.definition.kind, Kind::BatchSpec { version }, "{written}");
        let codes: Vec<_> = parsed.warnings.iter().map(|warning| warning.code).collect();
        assert_eq!(codes, [Code::VersionForm], "{written}");
    }
    for (written, version) in [("1", 1), ("2", 2), ("3", 3)] {
        let definition = accepted(batch(&format!("name: n\nversion: {written}")));
        assert_eq!(definition.kind, Kind::BatchSpec { version });
    }
}

#[test]
fn the_last_of_several_values_of_a_variable_counts() {
    let text = "name: n\nsteps:\n  - run: x\n    container: c\n    env: [{ A: first }, { B: b }, { A: last }]\n\
                changesetTemplate: { title: t, branch: b, commit: { message: m } }\n";
    let parsed = batch(text).unwrap();
    assert_eq!(rendered(&parsed.definition.steps[0].env), [("A", "last"), ("B", "b")].map(owned));
    assert_eq!(parsed.warnings.len(), 1);
}

#[test]
fn a_name_alone_stands_for_the_secret_of_that_name() {
    let text = "name: n\nsteps:\n  - run: x\n    container: c\n    \
                env: [TOKEN, { LEVEL: high }, KEY, { KEY: none }, { MODE: x }, MODE]\n  \
                - { run: y, container: c, env: [TOKEN] }\n\
                changesetTemplate: { title: t, branch: b, commit: { message: m } }\n";
    let parsed = batch(text).unwrap();
    let definition = &parsed.definition;
    let names =
        |step: usize| definition.steps[step].secrets.iter().map(|name| name.as_str()).collect::<Vec<_>>();
    assert_eq!(
        (names(0), names(1)),
        (vec!["TOKEN", "MODE"], vec!["TOKEN"]),
        "the later of two entries counts"
    );
    assert_eq!(rendered(&definition.steps[0].env), [("LEVEL", "high"), ("KEY", "none")].map(owned));
    assert_eq!(parsed.warnings.len(), 2);
    let all: Vec<&str> = definition.secrets().into_iter().map(|name| name.as_str()).collect();
    assert_eq!(all, ["MODE", "TOKEN"]);
}

#[test]
fn published_takes_one_answer_for_all() {
    for (written, publication) in [
        ("true", Publication::Published),
        ("false", Publication::Unpublished),
        ("draft", Publication::Draft),
        ("", Publication::Undecided),
        ("null", Publication::Undecided),
    ] {
        let text = format!(
            "name: n\nchangesetTemplate: {{ title: t, branch: b, commit: {{ message: m }}, published: {written} }}"
        );
        let template = accepted(batch(&text)).changeset_template.unwrap();
        assert_eq!(template.published, Published::All(publication), "{written}");
    }
}

#[test]
fn a_timeout_is_a_duration_or_a_number_of_seconds() {
    for (written, seconds) in [("90m", 5400), ("3600", 3600), ("\"45\"", 45), ("1h1m1s", 3661)] {
        let definition = accepted(batch(&format!("name: n\npatchwave: {{ timeout: {written} }}")));
        assert_eq!(definition.settings.timeout, Some(Duration::from_secs(seconds)), "{written}");
    }
}

#[test]
fn a_number_of_processors_has_thousandths() {
    for (written, millis) in
        [("2", 2000), ("0.01", 10), ("\"1.5\"", 1500), ("1.005", 1005), ("1024", 1_024_000)]
    {
        let definition = accepted(batch(&format!("name: n\npatchwave: {{ limits: {{ cpu: {written} }} }}")));
        assert_eq!(definition.settings.limits.cpu_millis, Some(millis), "{written}");
    }
}

#[test]
fn limits_stand_alone_where_a_site_says_them() {
    let limits = spec::parse_limits("--max-limits", "{ memory: 8GiB, cpu: 2 }").unwrap();
    let expected = Limits { memory_bytes: Some(8 << 30), cpu_millis: Some(2000), ..Limits::default() };
    assert_eq!(limits, expected);
    let wrong = spec::parse_limits("--max-limits", "{ memory: 8G, disk: 1GiB }").unwrap_err();
    let shown = wrong.to_string();
    assert!(shown.contains("--> --max-limits:1:11") && shown.contains("has no key `disk`"), "{shown}");
    assert!(spec::parse_limits("--max-limits", "memory=8GiB").is_err());
}

#[test]
fn yaml_is_read_by_its_core_schema() {
    let text = "\u{feff}# A comment\n--- \nname: &name yes\ndescription: *name\non: [{ repository: 012x }]\n\
                <<: { version: 3, name: not-this }\n...\n";
    let definition = accepted(batch(text));
    assert_eq!((definition.name.as_str(), definition.description.as_str()), ("yes", "yes"));
    assert_eq!(definition.kind, Kind::BatchSpec { version: 3 });
    let tagged = accepted(batch("name: !!str 012\n"));
    assert_eq!(tagged.name, "012");
}

#[test]
fn line_ends_of_windows_mean_the_same() {
    assert_eq!(accepted(batch(&WHOLE.replace('\n', "\r\n"))).on, accepted(batch(WHOLE)).on);
}

/// What the templates of [`WHOLE`] are rendered with.
fn context() -> Context {
    let mut context = Context {
        repository: Repository { name: "example/one".to_owned(), ..Repository::default() },
        batch_change: BatchChange { name: "batch".to_owned(), ..BatchChange::default() },
        ..Context::default()
    };
    context.steps.path = "services/web".to_owned();
    context.previous_step.changes.modified = vec!["a.txt".to_owned(), "b.txt".to_owned()];
    context
}

fn image(container: &Container) -> String {
    match container {
        Container::Image(template) => template.render(&context()).unwrap(),
        Container::Dockerfile(_) => panic!("a batch spec has no Dockerfile"),
    }
}

fn script(action: &Action) -> String {
    match action {
        Action::Script(template) => template.render(&context()).unwrap(),
        _ => panic!("a batch spec has scripts only"),
    }
}

fn rendered(pairs: &[(String, Template)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.clone(), value.render(&context()).unwrap())).collect()
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
