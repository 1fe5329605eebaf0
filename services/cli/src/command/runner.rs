//! `patchwave runner list`: who takes jobs.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ShowOptions, moment, state};
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};

const LIST: &str = "{ runners { id state slots labels version since reason } }";

#[derive(Deserialize)]
struct Listed {
    runners: Vec<Runner>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Runner {
    id: String,
    state: String,
    slots: u32,
    /// A JSON object as text.
    labels: String,
    version: String,
    since: String,
    reason: Option<String>,
}

/// Lists the runners.
pub(crate) async fn list(options: ShowOptions, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let listed: Listed = options.client(data)?.graphql(LIST, &json!({})).await?;
    if options.json {
        listed.runners.iter().try_for_each(output::json)?;
    } else if listed.runners.is_empty() {
        eprintln!("there are no runners: `patchwave up` starts one");
    } else {
        let columns = [
            Column::Left("runner"),
            Column::Left("state"),
            Column::Right("slots"),
            Column::Left("labels"),
            Column::Left("version"),
            Column::Left("since"),
            Column::Left("reason"),
        ];
        output::line(&output::table(&columns, listed.runners.into_iter().map(row)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(runner: Runner) -> Vec<String> {
    let labels = labels(&runner.labels);
    let slots = runner.slots.to_string();
    let reason = runner.reason.unwrap_or_default();
    vec![runner.id, state(&runner.state), slots, labels, runner.version, moment(&runner.since), reason]
}

/// `name=value` pairs of a JSON object.
fn labels(json: &str) -> String {
    let labels: BTreeMap<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let pair = |(name, value): (&String, &Value)| match value.as_str() {
        Some(value) => format!("{name}={value}"),
        None => format!("{name}={value}"),
    };
    labels.iter().map(pair).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn labels_are_pairs() {
        assert_eq!(labels(r#"{"os":"linux","arch":"arm64"}"#), "arch=arm64,os=linux");
        assert_eq!((labels("{}"), labels("nonsense")), (String::new(), String::new()));
    }
}
