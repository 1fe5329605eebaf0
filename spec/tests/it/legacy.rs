//! Legacy action files that are right, and how they are told from batch specs.

use events::document::Publication;
use spec::{
    Action, Code, Container, Context, DEFAULT_COMMAND_IMAGE, Definition, Given, Kind, Published, Scope,
    Settings, Source,
};

use crate::given::{accepted, legacy, named, read};

pub(crate) const WHOLE: &str = r#"
// Made for another tool.
{
  "$schema": "https://example.org/schema.json",
  "scopeQuery": "file:go.mod", /* a search */
  "steps": [
    { "type": "docker", "image": "golang:1.14", "args": ["go", "fmt", "${{ not a template }}"] },
    { "type": "docker", "image": "comby/comby", "cacheDirs": ["/root/.cache", "/root/.cache/"] },
    { "type": "docker", "dockerfile": "FROM alpine:3\nRUN true", "args": [] },
    { "type": "command", "args": ["sh", "-c", ""], },
  ],
}
"#;

pub(crate) const WHOLE_IN_YAML: &str = r#"
$schema: https://example.org/schema.json
scopeQuery: file:go.mod
steps:
  - { type: docker, image: "golang:1.14", args: [go, fmt, "${{ not a template }}"] }
  - type: docker
    image: comby/comby
    cacheDirs: [/root/.cache]
  - type: docker
    dockerfile: "FROM alpine:3\nRUN true"
  - type: command
    args: [sh, -c, ""]
"#;

#[test]
fn every_key_is_read() {
    let definition = accepted(legacy(WHOLE));
    assert_eq!((definition.kind, definition.name.as_str()), (Kind::Legacy, "legacy"));
    assert_eq!((definition.description.as_str(), definition.settings), ("", Settings::default()));
    assert_eq!(definition.on, [Scope::Query { query: "file:go.mod".to_owned() }]);
    let [image, cached, built, command] = &definition.steps[..] else { panic!("four steps") };
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    assert_eq!(image_of(&image.container), "golang:1.14");
    assert_eq!(image.action, Action::Arguments(texts(&["go", "fmt", "${{ not a template }}"])));
    assert_eq!(cached.action, Action::Arguments(Vec::new()));
    assert_eq!(cached.cache_dirs, texts(&["/root/.cache"]));
    assert_eq!(built.container, Container::Dockerfile("FROM alpine:3\nRUN true".to_owned()));
    assert_eq!(image_of(&command.container), "command-image");
    assert_eq!(command.action, Action::Command(texts(&["sh", "-c", ""])));
}

#[test]
fn yaml_says_the_same_as_json() {
    let yaml = read("action.yml", WHOLE_IN_YAML, &named());
    assert_eq!(accepted(yaml), accepted(legacy(WHOLE)));
}

#[test]
fn what_is_not_given_has_defaults() {
    let template = accepted(legacy(WHOLE)).changeset_template.unwrap();
    assert_eq!(template.branch.source(), "legacy/branch");
    assert_eq!((template.title.source(), template.message.source()), ("legacy", "legacy"));
    assert_eq!((template.body, template.author, template.fork), (None, None, None));
    assert_eq!(template.published, Published::All(Publication::Undecided));
    let titled = Given { title: Some("A title".to_owned()), message: Some(" ".to_owned()), ..named() };
    let template = accepted(read("action.json", WHOLE, &titled)).changeset_template.unwrap();
    assert_eq!((template.title.source(), template.message.source()), ("A title", "A title"));
}

#[test]
fn what_is_given_is_taken_as_it_is() {
    let some = |text: &str| Some(text.to_owned());
    let given = Given {
        name: some("given"),
        branch: some("refs/heads/given/branch"),
        title: some("${{ no template }}"),
        body: some("A body\nof two lines"),
        message: some("A message"),
    };
    let definition = accepted(read("action.json", WHOLE, &given));
    let template = definition.changeset_template.unwrap();
    let base = "refs/heads/main".parse().unwrap();
    let changeset = template.render(&Context::default(), &base).unwrap();
    assert_eq!(changeset.title, "${{ no template }}");
    assert_eq!(changeset.body, "A body\nof two lines");
    assert_eq!(changeset.branch.as_str(), "refs/heads/given/branch");
    assert_eq!(changeset.message, "A message");
}

#[test]
fn the_format_is_told_by_the_keys_and_the_syntax_by_the_name() {
    let batch = "name: n";
    for (name, text, expected) in [
        ("action.json", WHOLE, Kind::Legacy),
        ("action.jsonc", WHOLE, Kind::Legacy),
        ("no-ending", WHOLE, Kind::Legacy),
        ("ACTION.JSON", WHOLE, Kind::Legacy),
        ("action.yaml", WHOLE_IN_YAML, Kind::Legacy),
        ("no-ending", WHOLE_IN_YAML, Kind::Legacy),
        ("spec.yaml", batch, Kind::BatchSpec { version: 1 }),
        ("no-ending", batch, Kind::BatchSpec { version: 1 }),
        ("batch.json", r#"{ "name": "n" }"#, Kind::BatchSpec { version: 1 }),
        ("batch.yaml", r#"{ "name": "n", }"#, Kind::BatchSpec { version: 1 }),
    ] {
        let given = if expected == Kind::Legacy { named() } else { Given::default() };
        assert_eq!(accepted(read(name, text, &given)).kind, expected, "{name}: {text}");
    }
}

#[test]
fn a_misspelt_key_does_not_change_the_format() {
    let code = |text: &str| legacy(text).unwrap_err().as_slice()[0].code;
    assert_eq!(
        code(r#"{ "scopeQerry": "x", "steps": [{ "type": "docker", "image": "a" }] }"#),
        Code::UnknownKey
    );
    let yaml =
        read("action.yml", "scopeQerry: x\nsteps: [{ type: docker, image: a }]", &named()).unwrap_err();
    assert_eq!(yaml.as_slice().iter().map(|found| found.code).collect::<Vec<_>>(), [Code::UnknownKey]);
}

#[test]
fn a_recorded_definition_is_read_with_the_default_image() {
    let recorded = events::action::Definition {
        file_name: "action.json".to_owned(),
        source: WHOLE.to_owned(),
        given: named(),
        files: None,
    };
    let definition: Definition = accepted(spec::parse(&Source::from(&recorded)));
    assert_eq!(image_of(&definition.steps[3].container), DEFAULT_COMMAND_IMAGE);
}

fn image_of(container: &Container) -> String {
    match container {
        Container::Image(template) => template.render(&Context::default()).unwrap(),
        Container::Dockerfile(_) => panic!("this step has an image"),
    }
}
