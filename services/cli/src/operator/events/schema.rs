//! `patchwave events schema`: the shape of events, for programs that read them.

use clap::{Args, ValueEnum};
use events::schema::{VersionSchema, bundle, versions};
use serde_json::Value;

use crate::failure::Complaint;
use crate::output;

/// Options of `patchwave events schema`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// A type, `job.failed`, or one version of it, `job.failed.v3` [default: every version of every type]
    #[arg(value_name = "TYPE")]
    event_type: Option<String>,

    /// The form of the document
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON Schema, draft 2020-12, of the payloads
    #[default]
    JsonSchema,
    /// AsyncAPI 3.1: channels, headers and payloads of all events
    #[value(name = "asyncapi")]
    AsyncApi,
}

/// Prints it.
pub(super) fn print(options: &Options) -> anyhow::Result<()> {
    let document = match (options.format, &options.event_type) {
        (Format::JsonSchema, None) => bundle(&versions()?),
        (Format::JsonSchema, Some(name)) => schema_of(name)?,
        (Format::AsyncApi, None) => events::asyncapi::document()?,
        (Format::AsyncApi, Some(_)) => {
            return Err(Complaint::new(
                "an AsyncAPI document is of all events",
                "leave the type out, or ask for its --format json-schema",
            )
            .into());
        }
    };
    output::line(&serde_json::to_string_pretty(&document)?)
}

fn schema_of(name: &str) -> anyhow::Result<Value> {
    let of_type: Vec<VersionSchema> = versions()?
        .into_iter()
        .filter(|version| version.id() == name || version.event_type() == name)
        .collect();
    match of_type.as_slice() {
        [] => {
            let hint =
                "docs/events.md lists the types; `job.failed` is one, and `job.failed.v3` one version of it";
            Err(Complaint::new(format!("there is no event `{name}`"), hint).into())
        }
        [one] if one.id() == name => Ok(one.schema.clone()),
        all => Ok(bundle(all)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_a_schema_for_each_of_its_versions() {
        let all = schema_of("job.failed").unwrap();
        let names: Vec<&String> = all["$defs"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["job.failed.v1", "job.failed.v2", "job.failed.v3"]);
        let one = schema_of("job.failed.v2").unwrap();
        assert_eq!((&one["title"], one["type"] == "object"), (&"job.failed.v2".into(), true));
        assert!(schema_of("job.painted").unwrap_err().to_string().contains("job.painted"));
    }
}
