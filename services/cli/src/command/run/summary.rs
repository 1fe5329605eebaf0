//! The end of a run: what came of it, and what can be done next.

use events::execution::Outcome;
use events::id::{ExecutionId, PlanId};

use super::super::plan::{Plan, Without};
use super::progress::{counted, outcome};
use crate::terminal::inert;

/// How many repositories without a changeset are listed one by one.
const MAX_LISTED: usize = 20;

/// The summary as text.
pub(super) fn rendered(execution: ExecutionId, id: PlanId, ended: Outcome, plan: &Plan) -> String {
    let changesets = counted(plan.changesets, "changeset");
    let mut text = format!("{execution} {}: a plan of {changesets}\n", outcome(ended));
    if !plan.changeset_specs.nodes.is_empty() {
        text = text + "\n" + &plan.table() + "\n";
    }
    text.push_str(&without("missing", &plan.missing));
    text.push_str(&without("unchanged", &plan.unchanged));
    if !plan.imports.is_empty() {
        text.push_str(&format!("\nimports {}\n", counted(plan.imports.len() as u64, "changeset")));
    }
    text.push_str("\nNext:\n");
    let mut next = vec![format!("patchwave execution show {execution}"), format!("patchwave plan show {id}")];
    if !plan.changeset_specs.nodes.is_empty() {
        next.push(format!("patchwave plan diff {id}"));
        next.push(format!("patchwave plan export {id} DIR"));
    }
    for command in next {
        text.push_str(&format!("  {command}\n"));
    }
    text
}

/// The summary of an execution that has no plan.
pub(super) fn without_plan(execution: ExecutionId, ended: Outcome) -> String {
    format!(
        "{execution} {}: no plan\n\nNext:\n  patchwave execution show {execution}\n  patchwave plan create {execution}\n  \
         patchwave execution retry {execution}\n",
        outcome(ended)
    )
}

fn without(name: &str, list: &[Without]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{name}:\n");
    for without in list.iter().take(MAX_LISTED) {
        text.push_str(&format!("  {}: {}\n", inert(&without.repository), inert(&without.reason)));
    }
    if let Some(more) = list.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_shows_the_plan_and_what_is_missing() {
        let spec = json!({ "position": 1, "jobId": "job_1", "repository": "alpha", "url": "/a", "baseRef": "refs/heads/main",
            "baseOid": "0", "headRef": "refs/heads/fix/links", "title": "t", "body": "", "message": "m", "author": null,
            "fork": true, "publication": "DRAFT", "diffStat": { "files": 2, "insertions": 10, "deletions": 1 } });
        let unchanged: Vec<_> = (0..22)
            .map(|n| json!({ "jobId": null, "repository": format!("r{n}"), "reason": "nothing" }))
            .collect();
        let plan: Plan = serde_json::from_value(
            json!({ "id": "p", "executionId": "e", "state": "CURRENT", "supersededBy": null,
            "createdAt": "", "changesets": 1, "changesetSpecs": { "nodes": [spec] }, "unchanged": unchanged,
            "imports": [{ "repository": "gamma", "externalId": "7" }],
            "missing": [{ "jobId": "job_2", "repository": "beta\u{7}", "reason": "step 1 ended with 3" }] }),
        )
        .unwrap();
        let id = uuid::Uuid::from_u128(5);
        let text =
            rendered(ExecutionId::from_uuid(id), PlanId::from_uuid(id), Outcome::PartiallyFailed, &plan);
        let text = text.replace(&PlanId::from_uuid(id).token(), "5");
        let expected = "\
execution_5 partially failed: a plan of 1 changeset

repository  branch     files   +  −  published
alpha       fix/links      2  10  1  draft, to a fork

missing:
  beta: step 1 ended with 3

unchanged:
  r0: nothing
";
        assert!(text.starts_with(expected), "{text}");
        let end = "  r19: nothing
  and 2 more

imports 1 changeset

Next:
  patchwave execution show execution_5
  patchwave plan show plan_5
  patchwave plan diff plan_5
  patchwave plan export plan_5 DIR
";
        assert!(text.ends_with(end), "{text}");
    }
}
