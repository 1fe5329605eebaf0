//! `patchwave image`: images on the host of a runner that reaches no registry.
//!
//! Owns the words. Speaks to the container engine of this host and to nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use ::runner::{Import, Imported, Refused, Stage};
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::failure::Complaint;
use crate::output::{self, Column};

/// The commands of `patchwave image`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Give the engine of this host an image from a file
    Import(Options),
}

/// Options of `patchwave image import`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The same file gives an image of the same id on every host: import it on the host of each runner that is to use it."
)]
pub(crate) struct Options {
    /// What `docker save` wrote, or a tar archive of a root filesystem, also with gzip or zstd; `-`: the standard input
    file: PathBuf,

    /// What steps call it, such as `tool:1`; needed for a root filesystem, one more name for what was saved
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The Docker Engine: unix://… or tcp://… [default: DOCKER_HOST, else the local socket]
    #[arg(long, value_name = "HOST")]
    docker_host: Option<String>,
}

/// Runs a command.
pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Import(options) => import(options).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn import(options: Options) -> anyhow::Result<()> {
    let Options { file, name, docker_host } = options;
    let file = Some(file).filter(|file| file.as_os_str() != "-");
    // Without a terminal it shows nothing.
    let bar = ProgressBar::new_spinner();
    let shown = bar.clone();
    let import = Import { file, name, docker_host };
    let images = ::runner::import(import, move |stage, done, all| show(&shown, stage, done, all)).await;
    bar.finish_and_clear();
    let images = images.map_err(|error| match error.downcast::<Refused>() {
        Ok(refused) => Complaint::new(refused.message, refused.hint).into(),
        Err(error) => error,
    })?;
    let columns = [Column::Left("NAME"), Column::Left("ID"), Column::Right("SIZE")];
    let rows = images.iter().map(|image| {
        let name = image.name.clone().unwrap_or_else(|| "-".to_owned());
        vec![name, image.id.clone(), HumanBytes(image.bytes).to_string()]
    });
    output::line(&output::table(&columns, rows))?;
    eprintln!("{}", next(&images));
    Ok(())
}

fn show(bar: &ProgressBar, stage: Stage, done: u64, all: Option<u64>) {
    let (what, template) = match (stage, all) {
        (Stage::Reading, None) => ("reading", "{msg} {bytes}"),
        (Stage::Reading, Some(_)) => ("reading", "{msg} {bar:30} {bytes}/{total_bytes}"),
        (Stage::Loading, _) => ("loading", "{msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}"),
    };
    if bar.message() != what {
        bar.reset();
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(what);
    }
    bar.set_length(all.unwrap_or_default());
    bar.set_position(done);
}

/// What to do with it.
fn next(images: &[Imported]) -> String {
    let Some(name) = images.iter().find_map(|image| image.name.as_deref()) else {
        return "Steps use it by its id, or give it a name: import it again with --name.".to_owned();
    };
    format!(
        "Steps use it with `container: {name}`. Import the same file on the host of each runner that is to use it: its id is the \
         same everywhere."
    )
}
