//! `patchwave up`: every role and the managed broker in one process.
//!
//! Owns the order of the start: what can be refused early is tried first, and `gateway.json` is the last thing that
//! happens, so that it means "ready".

use std::process::ExitCode;
use std::time::Duration;

use ::gateway::{Auth, ProviderConfig};
use clap::Args;
use events::id::RunnerId;
use tokio::net::TcpListener;

use super::gateway::{self, IntakeOptions, ListenOptions};
use super::managed::{Managed, ServerOptions};
use super::runner::{self, SandboxOptions};
use super::scheduler::{self, Limits, SecretsOptions};
use super::signals::Signals;
use super::supervisor::{Outcome, Stage, Supervisor};
use super::{DatabaseOptions, User, campaign_plan, catalog, log_collector, projector, registrar};
use crate::data_dir::{DataDir, DataDirOption, LOCAL_RUNNER, Lock};
use crate::failure::{INTERRUPTED, Logged};

/// How long running jobs may go on once everything is to end.
const DRAIN: Duration = Duration::from_secs(30);

/// Options of `patchwave up`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    listen: ListenOptions,

    #[command(flatten)]
    intake: IntakeOptions,

    #[command(flatten)]
    server: ServerOptions,

    #[command(flatten)]
    database: DatabaseOptions,

    #[command(flatten)]
    sandbox: SandboxOptions,

    #[command(flatten)]
    secrets: SecretsOptions,

    #[command(flatten)]
    limits: Limits,
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let _lock = Lock::take(&data)?;
    options.intake.make_room();
    let auth = options.listen.auth(&data.gateway_endpoint())?;
    let provider = options.listen.provider()?;
    data.gateway_endpoint().remove();
    let mut signals = Signals::listen()?;
    let found = options.server.clone().locate()?;
    let listener = options.listen.bind(&auth).await?;
    let runner: RunnerId = LOCAL_RUNNER.parse()?;
    let managed = tokio::select! {
        managed = found.start(&data, vec![runner.clone()]) => managed?,
        () = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let mut supervisor = Supervisor::default();
    let plan = Plan { options, data, runner, auth, provider };
    let ended = match plan.start(&managed, listener, &mut supervisor).await {
        Ok(url) => plan.serve(&url, &mut supervisor, &mut signals).await,
        Err(error) => Err(error),
    };
    plan.data.gateway_endpoint().remove();
    if let Outcome::Interrupted = supervisor.stop(&mut signals).await {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    tokio::select! {
        () = managed.stop() => {}
        () = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    }
    ended.map(|()| ExitCode::SUCCESS)
}

struct Plan {
    options: Options,
    data: DataDir,
    runner: RunnerId,
    auth: Auth,
    provider: Option<ProviderConfig>,
}

impl Plan {
    /// Starts every role; returns where the gateway is.
    async fn start(
        &self,
        managed: &Managed,
        listener: TcpListener,
        supervisor: &mut Supervisor,
    ) -> anyhow::Result<String> {
        let Self { options, data, runner, auth, provider } = self;
        let connect = async |role: &'static str| managed.connect(&User::service(role)).await;
        let url = gateway::url(&listener)?;
        let database_url = data.database_url(options.database.database_url.as_deref());

        let (config, broker) = (projector::config(&database_url), connect(projector::ROLE).await?);
        supervisor.start(projector::ROLE, Stage::Views, |stop| ::projector::run(config, broker, stop));
        let (config, broker) = (catalog::config(data), connect(catalog::ROLE).await?);
        supervisor.start(catalog::ROLE, Stage::Facts, |stop| ::catalog::run(config, broker, stop));
        let config = scheduler::config(data, &options.secrets, &options.limits);
        let broker = connect(scheduler::ROLE).await?;
        // Whoever finds the gateway ready can set secrets.
        ::scheduler::announce_key(&config, &broker).await?;
        supervisor.start(scheduler::ROLE, Stage::Facts, |stop| ::scheduler::run(config, broker, stop));
        let (config, broker) = (log_collector::config(data), connect(log_collector::ROLE).await?);
        supervisor
            .start(log_collector::ROLE, Stage::Facts, |stop| ::log_collector::run(config, broker, stop));
        let (config, broker) = (campaign_plan::config(data), connect(campaign_plan::ROLE).await?);
        supervisor
            .start(campaign_plan::ROLE, Stage::Facts, |stop| ::campaign_plan::run(config, broker, stop));
        let config = registrar::config(data, managed.config(&User::service(registrar::ROLE))?)?;
        let broker = connect(registrar::ROLE).await?;
        supervisor.start(registrar::ROLE, Stage::Facts, |stop| ::registrar::run(config, broker, stop));
        let config = runner::config(data, runner, &options.sandbox, Some(DRAIN));
        let broker = managed.connect(&User::runner(runner)).await?;
        supervisor.start(runner::ROLE, Stage::Intake, |stop| async move {
            ::runner::run(config, broker, stop.clone()).await?;
            // One that was told to drain is gone by wish; the rest goes on, for the runners elsewhere.
            stop.cancelled().await;
            Ok(())
        });
        let config =
            gateway::config(&database_url, (&options.listen, &options.intake), auth, provider.as_ref());
        let broker = connect(gateway::ROLE).await?;
        supervisor.start(gateway::ROLE, Stage::Intake, |stop| ::gateway::run(config, listener, broker, stop));
        Ok(url)
    }

    /// Says that all is ready once it is, and waits for a reason to end.
    async fn serve(
        &self,
        url: &str,
        supervisor: &mut Supervisor,
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        let ready = async {
            gateway::await_ready(url).await?;
            self.data.gateway_endpoint().write(url, gateway::local_token(&self.auth))?;
            eprintln!("ready at {url}");
            std::future::pending::<anyhow::Result<()>>().await
        };
        tokio::select! {
            failed = ready => failed,
            (role, error) = supervisor.failure() => {
                tracing::error!(role, error = crate::logging::chain(&error), "cannot go on, everything stops");
                Err(Logged.into())
            }
            () = signals.next() => {
                tracing::info!("stopping: running jobs are finished first; interrupt again to exit at once");
                Ok(())
            }
        }
    }
}
