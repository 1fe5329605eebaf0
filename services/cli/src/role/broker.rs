//! `patchwave broker`: the managed nats-server in the foreground, for roles in processes of their own.

use std::process::ExitCode;

use clap::Args;
use events::id::RunnerId;

use super::managed::ServerOptions;
use super::serve;
use crate::data_dir::{DataDirOption, LOCAL_RUNNER, Lock};

/// Options of `patchwave broker`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    server: ServerOptions,

    /// A runner that may connect; repeat it for several
    #[arg(long = "runner", value_name = "NAME", default_values = [LOCAL_RUNNER])]
    runners: Vec<RunnerId>,
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let _lock = Lock::take(&data)?;
    let managed = options.server.locate()?.start(&data, options.runners).await?;
    tracing::info!(url = managed.url(), "the broker is ready");
    serve("broker", |stop| async move {
        stop.cancelled().await;
        managed.stop().await;
        Ok(())
    })
    .await
}
