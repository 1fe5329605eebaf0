//! The documentation agrees with the code.
//!
//! `UPDATE_DOCS=1 cargo test -p cli documents` writes `docs/events.md` anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use events::AggregateKind;
use events::rejection::Code;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_rejection_has_a_heading_that_says_what_to_do() {
    let errors = page("docs/errors.md");
    for code in Code::ALL {
        assert!(errors.contains(&format!("\n### {code}\n")), "docs/errors.md has no heading for {code}");
    }
}

#[test]
fn every_error_of_a_definition_is_explained() {
    let errors = page("docs/errors.md");
    for code in spec::Code::ALL {
        let row = format!("| `{}` | {} |", code.as_str(), code.meaning());
        assert!(errors.contains(&row), "docs/errors.md lacks the row:\n{row}");
    }
}

#[test]
fn every_link_in_the_documentation_leads_somewhere() {
    let pages_in = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let pages = entries.filter_map(|page| page.into_string().ok()).filter(|page| page.ends_with(".md"));
        pages.map(|page| format!("{folder}/{page}")).collect::<Vec<_>>()
    };
    let top = ["README.md", "CHANGELOG.md"].map(str::to_owned).to_vec();
    for name in [top, pages_in("docs"), pages_in("docs/adr")].concat() {
        let text = page(&name);
        let folder = root().join(&name).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{name} links to {target}");
            }
        }
    }
}

#[test]
fn the_catalogue_of_events_is_made_from_the_types() {
    let path = root().join("docs/events.md");
    let text = catalogue();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert!(
        page("docs/events.md") == text,
        "docs/events.md is old: UPDATE_DOCS=1 cargo test -p cli documents"
    );
}

const HEAD: &str = "# Events

Every fact is one message in the stream EVENTS. This page is made from the types. `patchwave events schema` prints the JSON Schema of each
payload, in every version; [asyncapi.json](asyncapi.json) has all of it for programs. [Subscribing](subscribing.md) says how to follow events.

A subscriber filters by subject alone: `ev.execution.<id>.>` is one execution's whole story, `ev.execution.*.job.*.succeeded` every
success. In a subject an id stands without its kind: `execution_01j…` is `01j…`.

The payload is JSON. Everything else is in the headers, as CloudEvents attributes in the binary mode of the NATS
binding, percent-encoded as it says:

| header | what it says |
|---|---|
| `ce-id` | the event's id, derived from the command and the aggregate: a command that is repeated makes the same event |
| `ce-source` | the aggregate's id |
| `ce-type` | the aggregate's kind and the event's type, `job.succeeded` |
| `ce-time` | when it was decided |
| `ce-dataversion` | the version of the payload |
| `ce-actor` | who did it: `user:NAME` or `service:NAME` |
| `ce-correlationid` | what it all began with: the execution's id for all of an execution's story |
| `ce-causationid` | the event that caused it, where there is one |
| `ce-traceparent` | the W3C trace context, where there is one |

`patchwave events show --json`, `patchwave run --json` and the gateway show an event as one document: `sequence`, `id`, `time`,
`actor`, `correlation`, `causation`, `aggregate`, `execution` (of a job), `type`, `version`, `data`. What a build cannot read, because a
later one wrote it, is shown with `unknown` and the reason.
";

fn catalogue() -> String {
    let mut text = HEAD.to_owned();
    let mut shapes = BTreeMap::new();
    for kind in AggregateKind::ALL {
        let name = kind.name();
        let _ = write!(text, "\n## {name}\n");
        for event in kind.event_types() {
            let subject =
                events::subject::every(kind, event.name).replacen('*', "<id>", 1).replace('*', "<job>");
            let schema = serde_json::to_value((event.schema)()).unwrap();
            let doc = sentence(event.doc);
            let _ = write!(
                text,
                "\n### {name}.{}\n\n{doc}\n\n`{subject}`, version {}\n",
                event.name, event.version
            );
            fields(&mut text, &schema);
            for (name, shape) in schema["$defs"].as_object().into_iter().flatten() {
                shapes.insert(name.clone(), shape.clone());
            }
        }
    }
    text.push_str("\n## Shapes\n\nWhat several payloads have in common.\n");
    for (name, shape) in shapes {
        let _ =
            write!(text, "\n### {name}\n\n{}\n", sentence(shape["description"].as_str().unwrap_or_default()));
        values(&mut text, &shape);
        fields(&mut text, &shape);
    }
    text
}

fn sentence(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`")
}

fn fields(text: &mut String, schema: &Value) {
    let Some(properties) = schema["properties"].as_object().filter(|fields| !fields.is_empty()) else {
        return;
    };
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    text.push_str("\n| field | type | what it is |\n|---|---|---|\n");
    for (name, field) in properties {
        let optional = if required.contains(&name.as_str()) { "" } else { ", optional" };
        let doc = sentence(field["description"].as_str().unwrap_or_default());
        let _ = writeln!(text, "| `{name}` | {}{optional} | {doc} |", type_name(field));
    }
}

/// The names that a shape with a few fixed values takes.
fn values(text: &mut String, schema: &Value) {
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    let rows: Vec<String> = one_of
        .filter_map(|value| {
            let doc = sentence(value["description"].as_str().unwrap_or_default());
            Some(format!("| `{}` | {doc} |\n", value["const"].as_str()?))
        })
        .collect();
    if !rows.is_empty() {
        text.push_str("\n| value | what it means |\n|---|---|\n");
        rows.iter().for_each(|row| text.push_str(row));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        let _ = write!(text, "\nText that matches `{pattern}`.\n");
    }
}

fn type_name(field: &Value) -> String {
    let reference = |value: &Value| {
        let name = value["$ref"].as_str()?.rsplit('/').next()?.to_owned();
        Some(format!("[{name}](#{})", name.to_lowercase()))
    };
    if let Some(name) = reference(field) {
        return name;
    }
    if let Some(any) = field["anyOf"].as_array() {
        let names: Vec<String> = any.iter().filter(|value| value["type"] != "null").map(type_name).collect();
        return names.join(" or ");
    }
    match &field["type"] {
        Value::String(name) if name == "array" => format!("list of {}", type_name(&field["items"])),
        Value::String(name) if name == "object" => "map".to_owned(),
        Value::String(name) => name.clone(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "any".to_owned(),
    }
}
