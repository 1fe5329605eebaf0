//! Processes: how a step runs and its output comes out.
//!
//! Owns the way of the bytes from the engine to the [`Output`]. Never changes, cuts or joins them by their content.
//! Invariant: no more is in memory than a few pieces, and a step is over when its process is, whoever still holds its
//! output open.

use std::pin::Pin;
use std::time::Duration;

use anyhow::anyhow;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::AttachContainerOptionsBuilder;
use events::log::Stream;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::trouble::cut;
use super::{Container, Output, Trouble, spec};

/// The exit code of what SIGKILL ended.
pub(super) const KILLED: i64 = 137;

/// How often a running step is looked at: a child that it left behind may hold its output open for ever.
const LOOK: Duration = Duration::from_secs(1);

/// After a step's process has ended: how long its output may be silent, and how long it may go on.
pub(super) const DRAIN_SILENCE: Duration = Duration::from_millis(200);
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// How long the engine may take to notice the end of a process whose output has ended.
const NOTICE: Duration = Duration::from_secs(60);

/// How much is read at once.
pub(super) const PIECE: usize = 64 * 1024;

/// The output as the engine sends it.
type Pieces = Pin<Box<dyn futures::Stream<Item = Result<LogOutput, Error>> + Send>>;

impl Container {
    /// Runs a script in an idle container, with bash if the image has it, else sh, and returns its exit code: 128 plus
    /// the signal's number if one ended it.
    pub(crate) async fn run_script(
        &self,
        script: &str,
        env: &[(String, String)],
        output: &mut dyn Output,
    ) -> Result<i64, Trouble> {
        let _running = self.count();
        if self.is_killing() {
            return Ok(KILLED);
        }
        self.or_killed(self.exec(script, env, output).await)
    }

    /// Starts a container that is not idle, and returns the exit code of its main process.
    pub(crate) async fn run_main(&self, output: &mut dyn Output) -> Result<i64, Trouble> {
        if self.is_killing() {
            return Ok(KILLED);
        }
        self.or_killed(self.main(output).await)
    }

    /// What goes wrong while a container is being killed goes wrong because of that.
    pub(super) fn or_killed(&self, result: Result<i64, Trouble>) -> Result<i64, Trouble> {
        match result {
            Err(_) if self.is_killing() => Ok(KILLED),
            result => result,
        }
    }

    async fn exec(
        &self,
        script: &str,
        env: &[(String, String)],
        output: &mut dyn Output,
    ) -> Result<i64, Trouble> {
        let shell =
            self.shell().ok_or_else(|| Trouble::Engine(anyhow!("a script in an image without a shell")))?;
        let script = self.put_script(script).map_err(Trouble::Engine)?;
        let doing = "run the step's script";
        let options = CreateExecOptions {
            cmd: Some(vec![shell.scripts.to_owned(), script]),
            env: Some(spec::variables(env)),
            working_dir: Some(self.workdir().to_owned()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self.engine().docker().create_exec(self.id(), options).await;
        let exec = exec.map_err(|error| self.trouble(doing, error))?.id;
        let start = StartExecOptions { output_capacity: Some(PIECE), ..Default::default() };
        let started = self.engine().docker().start_exec(&exec, Some(start)).await;
        match started.map_err(|error| self.trouble(doing, error))? {
            // The input is kept until the end: to drop it would close the connection's other half.
            StartExecResults::Attached { output: pieces, input: _input } => {
                self.follow(&exec, pieces, output).await
            }
            StartExecResults::Detached => Err(cut(self.engine().address(), doing)),
        }
    }

    /// Passes a step's output on until its process has ended.
    async fn follow(&self, exec: &str, mut pieces: Pieces, output: &mut dyn Output) -> Result<i64, Trouble> {
        let mut look = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                piece = pieces.next() => match piece {
                    Some(piece) => self.pass(piece, output).await?,
                    None => return self.exit_code(exec).await,
                },
                _ = look.tick() => if let Some(code) = self.exited(exec).await? {
                    self.drain(pieces, output).await?;
                    return Ok(code);
                },
            }
        }
    }

    /// The exit code of a script whose output has ended. The engine notices the one a moment after the other.
    async fn exit_code(&self, exec: &str) -> Result<i64, Trouble> {
        let until = Instant::now() + NOTICE;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.exited(exec).await? {
                Some(code) => return Ok(code),
                None if self.is_killed() => return Ok(KILLED),
                None if Instant::now() > until => {
                    // It closed its output and works on: that is its right.
                    pause = LOOK;
                }
                None => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        }
    }

    /// The exit code, if the process has ended.
    async fn exited(&self, exec: &str) -> Result<Option<i64>, Trouble> {
        let found = self.engine().docker().inspect_exec(exec).await;
        let found = found.map_err(|error| self.trouble("learn how the step ended", error))?;
        Ok(if found.running == Some(false) { found.exit_code } else { None })
    }

    async fn main(&self, output: &mut dyn Output) -> Result<i64, Trouble> {
        let doing = "follow the step's output";
        let options = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).build();
        let attached = self.engine().docker().attach_container(self.id(), Some(options)).await;
        let attached = attached.map_err(|error| self.trouble(doing, error))?;
        let (mut pieces, _input) = (attached.output, attached.input);
        self.start().await?;
        let ended = self.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                piece = pieces.next() => match piece {
                    Some(piece) => self.pass(piece, output).await?,
                    None => return ended.await.map_err(Trouble::Engine),
                },
                code = &mut ended => {
                    self.drain(pieces, output).await?;
                    return code.map_err(Trouble::Engine);
                }
            }
        }
    }

    /// Passes on what is left after the end of the process. Where all have ended, the output ends too; where a child
    /// was left behind, it does not, and what the child says is not waited for.
    async fn drain(&self, mut pieces: Pieces, output: &mut dyn Output) -> Result<(), Trouble> {
        let until = Instant::now() + DRAIN;
        while let Ok(Ok(Some(piece))) = timeout_at(until, timeout(DRAIN_SILENCE, pieces.next())).await {
            self.pass(piece, output).await?;
        }
        Ok(())
    }

    async fn pass(&self, piece: Result<LogOutput, Error>, output: &mut dyn Output) -> Result<(), Trouble> {
        match piece {
            Ok(LogOutput::StdOut { message }) => output.write(Stream::Stdout, message).await,
            Ok(LogOutput::StdErr { message }) => output.write(Stream::Stderr, message).await,
            // Nothing is sent to a step. A piece without a frame is what is left of a frame that was cut.
            Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. }) => {
                return Err(cut(self.engine().address(), "read the step's output"));
            }
            Err(error) => return Err(self.trouble("read the step's output", error)),
        }
        Ok(())
    }

    fn trouble(&self, doing: &str, error: Error) -> Trouble {
        Trouble::Engine(self.engine().explain(doing, error))
    }
}
