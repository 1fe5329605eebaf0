//! `patchwave plan diff`: the patches, one after the other, so that they can be read or piped into git.

use std::io::IsTerminal as _;

use clap::Args;
use events::id::PlanId;
use owo_colors::{OwoColorize as _, Stream};

use super::super::patch;
use super::Plan;
use crate::client::{Client, ServerOption};
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;
use crate::output;
use crate::terminal::inert;

/// Options of `patchwave plan diff`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The plan's id
    plan: PlanId,

    /// Only the repository with this name; repeat it for several
    #[arg(long = "repo", value_name = "NAME")]
    repositories: Vec<String>,

    #[command(flatten)]
    server: ServerOption,
}

/// Runs it.
pub(super) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    let client = Client::new(&options.server, data)?;
    let plan = Plan::read(&client, options.plan, None).await?;
    let specs = &plan.changeset_specs.nodes;
    let wanted = |name: &String| options.repositories.is_empty() || options.repositories.contains(name);
    if let Some(unknown) =
        options.repositories.iter().find(|name| !specs.iter().any(|spec| spec.repository == **name))
    {
        let hint = format!("`patchwave plan show {}` lists the repositories that have one", options.plan);
        return Err(Complaint::new(format!("the plan has no changeset for `{unknown}`"), hint).into());
    }
    let terminal = std::io::stdout().is_terminal();
    for spec in specs.iter().filter(|spec| wanted(&spec.repository)) {
        let bytes = spec.patch(&client, options.plan).await?;
        if terminal {
            let title = inert(&format!("# {}, branch {}", spec.repository, spec.branch()));
            output::line(&title.if_supports_color(Stream::Stdout, |text| text.bold()).to_string())?;
        }
        patch::print(&bytes)?;
    }
    Ok(())
}
