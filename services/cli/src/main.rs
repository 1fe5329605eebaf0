//! `patchwave`: every role of the system, and the commands of its users and operators.
//!
//! Owns the command line. Never does anything itself: each command is one module, and each role one crate.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's failure")
)]

mod client;
mod command;
mod data_dir;
mod duration;
mod failure;
mod logging;
mod manual;
mod operator;
mod output;
mod private_file;
mod role;
mod terminal;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use command::{action, execution, job, login, plan, run, secret, token, user};
use data_dir::DataDirOption;
use logging::LogFormat;
use operator::{dead, events as log, image, projection};

/// All roles make many small things on many threads, where this one takes less time than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Changes code in many git repositories at once, and keeps every step of it.
#[derive(Debug, Parser)]
#[command(name = "patchwave", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
Start with `patchwave up`, then `patchwave run FILE --repo PATH`.

Exit codes: 0 done; 1 not done, or an execution that failed or was canceled; 2 in part: some jobs
succeeded and some did not, or some repositories could not be reached; 130 interrupted.")]
struct Cli {
    #[command(flatten)]
    data: DataDirOption,

    /// How the log on standard error is written; PATCHWAVE_LOG says how much: debug, or info,scheduler=debug
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run an action definition over repositories and follow it to its plan
    Run(run::Options),
    /// The runs of actions
    #[command(subcommand)]
    Execution(execution::Command),
    /// One workspace of an execution, and what its steps printed
    #[command(subcommand)]
    Job(job::Command),
    /// What an execution's patches would become
    #[command(subcommand)]
    Plan(plan::Command),
    /// The actions there are
    #[command(subcommand)]
    Action(action::Command),
    /// Values that steps may use and nobody may read
    #[command(subcommand)]
    Secret(secret::Command),
    /// Who may use this Patchwave, and for what
    #[command(subcommand)]
    User(user::Command),
    /// What programs show in place of a password
    #[command(subcommand)]
    Token(token::Command),
    /// Sign in to a Patchwave, for the commands of this machine's user
    Login(login::Login),
    /// Sign out, and forget the login
    Logout(login::Logout),
    /// Show who one is to a Patchwave
    Whoami(command::ShowOptions),
    /// Start everything in one process
    Up(Box<role::up::Options>),
    /// Role: run the managed nats-server, for roles in processes of their own
    Broker(role::broker::Options),
    /// Make the streams on a broker of your own
    Provision(role::provision::Options),
    /// Role: serve GraphQL over HTTP
    Gateway(role::gateway::Options),
    /// Role: know the repositories, and prepare what runners check out
    Catalog(role::catalog::Options),
    /// Role: give jobs to runners, and turn what they report into facts
    Scheduler(role::scheduler::Options),
    /// Role: run jobs in containers; or list the runners
    #[command(args_conflicts_with_subcommands = true)]
    Runner(Box<RunnerCommand>),
    /// Role: let machines enroll as runners, and say at the broker's door which key is whose
    Registrar(role::registrar::Options),
    /// Role: keep one sealed log for each attempt
    LogCollector(role::log_collector::Options),
    /// Role: turn patches into plans
    CampaignPlan(role::campaign_plan::Options),
    /// Role: turn events into tables
    Projector(role::projector::Options),
    /// The log of all events
    #[command(subcommand)]
    Events(log::Command),
    /// The tables that are made from the log
    #[command(subcommand)]
    Projection(projection::Command),
    /// What a service could not handle
    #[command(subcommand)]
    Dead(dead::Command),
    /// The images of this host, where no registry can be reached
    #[command(subcommand)]
    Image(image::Command),
    /// Print what a shell needs to complete commands and options
    Completions(manual::Completions),
    /// Print the manual's first page, or write all pages of it
    Man(manual::Pages),
}

/// `patchwave runner` is a role; with a command, as in `patchwave runner list`, it is about runners.
#[derive(Args, Debug)]
struct RunnerCommand {
    #[command(subcommand)]
    command: Option<command::runner::Command>,

    #[command(flatten)]
    role: role::runner::Options,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let result = start(cli);
    result.unwrap_or_else(|error| failure::report(&error))
}

/// Prints help, or what is wrong with the command line. The exit code is never 2, which says "partially failed".
fn usage(error: &clap::Error) -> ExitCode {
    // Whoever closed the output wants to know nothing.
    let _ = error.print();
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    logging::begin(cli.log_format, cli.command.default_log())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(dispatch(cli));
    // Whoever exits at once leaves tasks behind: dropping them ends the processes that they hold.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let data = &cli.data;
    match cli.command {
        Command::Run(options) => run::run(options, data).await,
        Command::Execution(command) => execution::run(command, data).await,
        Command::Job(command) => job::run(command, data).await,
        Command::Plan(command) => plan::run(command, data).await,
        Command::Action(command) => action::run(command, data).await,
        Command::Secret(command) => secret::run(command, data).await,
        Command::User(command) => user::run(command, data).await,
        Command::Token(command) => token::run(command, data).await,
        Command::Login(options) => login::login(options, data).await,
        Command::Logout(options) => login::logout(options, data).await,
        Command::Whoami(options) => login::whoami(options, data).await,
        Command::Up(options) => role::up::run(*options, data).await,
        Command::Broker(options) => role::broker::run(options, data).await,
        Command::Provision(options) => role::provision::run(options).await,
        Command::Gateway(options) => role::gateway::run(options, data).await,
        Command::Catalog(options) => role::catalog::run(options, data).await,
        Command::Scheduler(options) => role::scheduler::run(options, data).await,
        Command::Runner(runner) => match runner.command {
            Some(command) => command::runner::run(command, data).await,
            None => role::runner::run(runner.role, data).await,
        },
        Command::Registrar(options) => role::registrar::run(options, data).await,
        Command::LogCollector(options) => role::log_collector::run(options, data).await,
        Command::CampaignPlan(options) => role::campaign_plan::run(options, data).await,
        Command::Projector(options) => role::projector::run(options, data).await,
        Command::Events(command) => log::run(command, data).await,
        Command::Projection(command) => projection::run(command, data).await,
        Command::Dead(command) => dead::run(command, data).await,
        Command::Image(command) => image::run(command).await,
        Command::Completions(options) => manual::completions(&options, Cli::command()).map(done),
        Command::Man(options) => manual::pages(&options, Cli::command()).map(done),
    }
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

impl Command {
    /// What is logged unless PATCHWAVE_LOG says otherwise: roles tell their story, client commands show results.
    const fn default_log(&self) -> &'static str {
        match self {
            Self::Up(_)
            | Self::Broker(_)
            | Self::Gateway(_)
            | Self::Catalog(_)
            | Self::Scheduler(_)
            | Self::LogCollector(_)
            | Self::Registrar(_)
            | Self::CampaignPlan(_)
            | Self::Projector(_) => ROLE_LOG,
            Self::Runner(runner) if runner.command.is_none() => ROLE_LOG,
            _ => "warn,async_nats=off",
        }
    }
}

/// The client library repeats what the broker crate says better.
const ROLE_LOG: &str = "info,async_nats=off,sqlx=warn";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_says_what_there_is() {
        let mut root = Cli::command().term_width(100);
        root.build();
        let mut help = String::new();
        let mut commands = vec![root];
        while let Some(mut command) = commands.pop() {
            help.push_str(&format!("{}\n\n", command.render_help().to_string().trim_end()));
            let below: Vec<clap::Command> = command.get_subcommands().cloned().collect();
            commands.extend(below.into_iter().rev());
        }
        insta::assert_snapshot!(help);
    }

    #[test]
    fn a_runner_is_a_role_and_a_list() {
        let parse = |arguments: &[&str]| Cli::try_parse_from([&["patchwave", "runner"], arguments].concat());
        assert!(
            matches!(parse(&["list", "--json"]).unwrap().command, Command::Runner(runner) if runner.command.is_some())
        );
        assert!(
            matches!(parse(&["--id", "north"]).unwrap().command, Command::Runner(runner) if runner.command.is_none())
        );
        assert!(parse(&["--id", "North"]).is_err());
    }
}
