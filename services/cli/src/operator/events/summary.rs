//! An event on one line, for people.

use serde_json::Value;

use crate::output::shortened;
use crate::terminal::inert;

/// How long the summary of a payload may be.
const MAX_CHARACTERS: usize = 120;

/// Sequence, time, whose it is, what happened, and the gist of it, of an event's document.
pub(super) fn line(document: &Value) -> String {
    let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    let sequence = document["sequence"].as_u64().unwrap_or_default();
    if let Some(why) = document["unknown"].as_str() {
        return inert(&format!("{sequence:>8}  {:<24}  {}  {why}", "unknown", text("subject")));
    }
    let time = text("time").parse::<events::Timestamp>();
    let time = time.map(|time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()).unwrap_or_default();
    let whose = match document["execution"].as_str() {
        Some(execution) => format!("{execution} {}", text("aggregate")),
        None => text("aggregate"),
    };
    let gist = shortened(&gist(&document["data"]), MAX_CHARACTERS);
    inert(format!("{sequence:>8}  {time}  {:<24}  {whose}  {gist}", text("type")).trim_end())
}

/// The fields that tell something on one line; texts of several lines and ids of blobs do not.
fn gist(data: &Value) -> String {
    let mut parts = Vec::new();
    collect(data, "", &mut parts);
    parts.join(" ")
}

fn collect(value: &Value, name: &str, parts: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let known_blob = fields.contains_key("sha256");
            if known_blob && let Some(size) = fields.get("size") {
                parts.push(format!("{name}={size}B"));
                return;
            }
            for (field, value) in fields.iter().filter(|(field, _)| *field != "sha256") {
                collect(value, field, parts);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) => parts.push(format!("{name}=[{}]", items.len())),
        Value::String(text) if text.contains('\n') || text.is_empty() => {}
        Value::String(text) if text.contains(' ') => parts.push(format!("{name}={text:?}")),
        Value::String(text) => parts.push(format!("{name}={text}")),
        Value::Number(number) => parts.push(format!("{name}={number}")),
        Value::Bool(value) => parts.push(format!("{name}={value}")),
        Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let document = json!({
            "sequence": 12, "time": "2026-01-02T03:04:05.678901Z", "aggregate": "job_1", "execution": "execution_2",
            "type": "job.failed",
            "data": { "attempt": 1, "failure": { "message": "it\u{1b}[2J broke", "script": "a\nb", "step": null },
                      "log": { "lines": 3, "sha256": "0" }, "patch": { "kind": "patch", "sha256": "0", "size": 9 } },
        });
        assert_eq!(
            line(&document),
            "      12  2026-01-02T03:04:05.678Z  job.failed                execution_2 job_1  \
             attempt=1 message=\"it\\u{1b}[2J broke\" lines=3 patch=9B"
        );
    }

    #[test]
    fn what_cannot_be_read_is_shown_all_the_same() {
        let document =
            json!({ "sequence": 1, "subject": "ev.x.y.z", "unknown": "no such type", "data": null });
        assert_eq!(line(&document), "       1  unknown                   ev.x.y.z  no such type");
    }
}
