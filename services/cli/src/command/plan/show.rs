//! `patchwave plan show`.

use clap::Args;
use events::id::PlanId;

use super::super::{ShowOptions, moment, state};
use super::{Plan, Without};
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};

/// Options of `patchwave plan show`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The plan's id
    plan: PlanId,

    #[command(flatten)]
    show: ShowOptions,
}

/// Runs it.
pub(super) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.show.client(data)?;
    let plan = Plan::read(&client, options.plan, None).await?;
    if options.show.json { output::json(&plan) } else { output::line(&rendered(&plan)) }
}

fn rendered(plan: &Plan) -> String {
    let superseded = plan.superseded_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let mut text = output::fields(&[
        ("plan", plan.id.clone()),
        ("execution", plan.execution_id.clone()),
        ("state", format!("{}{superseded}", state(&plan.state))),
        ("created", moment(&plan.created_at)),
        ("changesets", plan.changesets.to_string()),
    ]);
    if !plan.changeset_specs.nodes.is_empty() {
        text = text + "\n\n" + &plan.table();
    }
    for (name, list) in [("missing", &plan.missing), ("unchanged", &plan.unchanged)] {
        if !list.is_empty() {
            text = text + "\n\n" + &without(name, list);
        }
    }
    if !plan.imports.is_empty() {
        let rows =
            plan.imports.iter().map(|import| vec![import.repository.clone(), import.external_id.clone()]);
        let columns = [Column::Left("imported"), Column::Left("changeset")];
        text = text + "\n\n" + &output::table(&columns, rows);
    }
    text
}

fn without(name: &'static str, list: &[Without]) -> String {
    let rows =
        list.iter().map(|without| vec![without.repository.clone(), output::shortened(&without.reason, 120)]);
    output::table(&[Column::Left(name), Column::Left("reason")], rows)
}
