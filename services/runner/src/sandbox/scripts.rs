//! Scripts: steps that one container runs one after the other, without an exec for each.
//!
//! Owns the pipes between the runner and the container: two for each script's output, so that no byte has to say whose it
//! is, and one on which the container's own shell says how each script ended. None begins before the runner wants it to, and
//! until then nothing but the shell runs. Never reads what a script wrote.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use events::log::Stream;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::fs::{CWD, Mode, mkfifoat};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tokio::time::{Instant, timeout, timeout_at};

use super::process::{DRAIN, DRAIN_SILENCE, KILLED, PIECE};
use super::{Container, Output, Trouble};

/// The pipe on which the ends are told.
const ENDS: &str = "ends";

/// The pipe that is opened once a failure was looked into.
const SEEN: &str = "seen";

/// The pipe that is opened once the runner wants a script to begin.
const GO: &str = "go";

/// Runs `$1` scripts with the shell `$0` in the folder `$2`, until one fails; `$3` of them have begun. Each is a child,
/// because the first process of a container ignores the signals that it has no handler for. The shell's own words about a
/// child's death go nowhere, and it has no variable that could be one of the scripts'. After a failure the container stays
/// until its pipe is opened, because what the kernel counted goes with it.
pub(super) const LINES: &str = r#"exec 2>/dev/null 3>/.patchwave/ends
while [ "$3" -lt "$1" ]; do
set -- "$1" "$2" $(($3 + 1))
: <"/.patchwave/go-$3"
({ [ . -ef "$2" ] || cd "$2"; } &&
exec "$0" "/.patchwave/script-$3" >"/.patchwave/stdout-$3" 2>"/.patchwave/stderr-$3" 3>&-)
set -- "$1" "$2" "$3" $?
echo "$4" >&3
[ "$4" -eq 0 ] || { : >/.patchwave/seen; exit "$4"; }
done"#;

/// Makes the pipes for so many scripts.
pub(super) fn make_pipes(folder: &Path, scripts: usize) -> Result<()> {
    let outputs =
        (1..=scripts).flat_map(|number| [GO, "stdout", "stderr"].map(|name| format!("{name}-{number}")));
    for name in outputs.chain([ENDS, SEEN].map(str::to_owned)) {
        mkfifoat(CWD, folder.join(name), Mode::RUSR | Mode::WUSR)
            .with_context(|| format!("cannot make a pipe in {}", folder.display()))?;
    }
    Ok(())
}

/// The scripts of a container that runs.
pub(crate) struct Scripts {
    container: Container,
    ends: Pipe,
    told: Vec<u8>,
    ended: BoxFuture<'static, Result<i64>>,
    /// The exit code of the container.
    exit: Option<i64>,
    number: u32,
}

impl Container {
    /// Starts a container that was made for scripts. The first begins with [`Scripts::next`].
    pub(crate) async fn start_scripts(&self) -> Result<Scripts, Trouble> {
        let ends = Pipe::open(&self.scripts().join(ENDS)).map_err(Trouble::Engine)?;
        self.start().await?;
        let container = self.clone();
        let ended = async move { container.ended().await }.boxed();
        Ok(Scripts { container: self.clone(), ends, told: Vec::new(), ended, exit: None, number: 0 })
    }
}

impl Scripts {
    /// Lets the next script run, and returns its exit code: 128 plus the signal's number if one ended it.
    pub(crate) async fn next(&mut self, output: &mut dyn Output) -> Result<i64, Trouble> {
        if self.container.is_killing() {
            return Ok(KILLED);
        }
        self.number += 1;
        let container = self.container.clone();
        // Whoever ends the container waits for the script that runs, not for those that would come after it.
        let _running = container.count();
        let result = self.follow(output).await;
        self.container.or_killed(result.map_err(Trouble::Engine))
    }

    /// Waits until nothing runs in the container any more. After the last script, or one that failed, it ends by itself.
    pub(crate) async fn finish(mut self) -> Result<(), Trouble> {
        if self.exit.is_none() {
            let _seen = Pipe::open(&self.container.scripts().join(SEEN)).map_err(Trouble::Engine)?;
            let ended = (&mut self.ended).await.map_err(Trouble::Engine);
            self.container.or_killed(ended)?;
        }
        Ok(())
    }

    async fn follow(&mut self, output: &mut dyn Output) -> Result<i64> {
        let folder = self.container.scripts();
        let _go = Pipe::open(&folder.join(format!("{GO}-{}", self.number)))?;
        let mut stdout = Pipe::open(&folder.join(format!("stdout-{}", self.number)))?;
        let mut stderr = Pipe::open(&folder.join(format!("stderr-{}", self.number)))?;
        let code = loop {
            tokio::select! {
                piece = stdout.next() => pass(Stream::Stdout, piece?, output).await,
                piece = stderr.next() => pass(Stream::Stderr, piece?, output).await,
                told = self.ends.next() => {
                    self.told.extend(told?);
                    if let Some(code) = self.code()? {
                        break code;
                    }
                }
                exit = &mut self.ended, if self.exit.is_none() => {
                    self.exit = Some(exit?);
                    break self.last_code().await?;
                }
            }
        };
        stdout.end();
        stderr.end();
        drain([&mut stdout, &mut stderr], output).await?;
        stdout.forget();
        stderr.forget();
        Ok(code)
    }

    /// The exit code that was told, if one was.
    fn code(&mut self) -> Result<Option<i64>> {
        let Some(end) = self.told.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line: Vec<u8> = self.told.drain(..=end).collect();
        let text = String::from_utf8_lossy(&line);
        text.trim().parse().map(Some).with_context(|| format!("a step ended with `{}`", text.trim()))
    }

    /// The exit code of the script during which the container ended: told a moment before, or the container's own.
    async fn last_code(&mut self) -> Result<i64> {
        while let Ok(told) = timeout(DRAIN_SILENCE, self.ends.next()).await {
            self.told.extend(told?);
            if let Some(code) = self.code()? {
                return Ok(code);
            }
        }
        match self.exit {
            Some(code) if code != 0 => Ok(code),
            _ => Err(anyhow!("the container ended before its step")),
        }
    }
}

/// One end of a named pipe.
struct Pipe {
    receiver: Receiver,
    /// Held until the script has ended, because a pipe that nobody has open to write looks like one that has ended.
    sender: Option<Sender>,
    has_ended: bool,
    buffer: Vec<u8>,
}

impl Pipe {
    fn open(path: &Path) -> Result<Self> {
        let open = || -> std::io::Result<_> {
            Ok((OpenOptions::new().open_receiver(path)?, OpenOptions::new().open_sender(path)?))
        };
        let (receiver, sender) = open().context("a step's pipe cannot be opened")?;
        Ok(Self { receiver, sender: Some(sender), has_ended: false, buffer: vec![0; PIECE] })
    }

    /// The next bytes; none at the end. Safe to cancel.
    async fn next(&mut self) -> Result<Bytes> {
        let length = self.receiver.read(&mut self.buffer).await.context("a step's pipe cannot be read")?;
        self.has_ended = length == 0;
        Ok(Bytes::copy_from_slice(&self.buffer[..length]))
    }

    /// Lets it end once all others have closed it.
    fn end(&mut self) {
        self.sender = None;
    }

    /// Lets whoever is left write on into nothing: what a step left behind must not die of it.
    fn forget(mut self) {
        if !self.has_ended {
            tokio::spawn(async move { while !self.has_ended && self.next().await.is_ok() {} });
        }
    }
}

/// Passes on what is left after the end of a script. Where all of it has ended, the pipes end too; where a child was left
/// behind, they do not, and what the child says is not waited for.
async fn drain([stdout, stderr]: [&mut Pipe; 2], output: &mut dyn Output) -> Result<()> {
    let until = Instant::now() + DRAIN;
    loop {
        let next = async {
            tokio::select! {
                piece = stdout.next(), if !stdout.has_ended => Some(piece.map(|piece| (Stream::Stdout, piece))),
                piece = stderr.next(), if !stderr.has_ended => Some(piece.map(|piece| (Stream::Stderr, piece))),
                else => None,
            }
        };
        match timeout_at(until, timeout(DRAIN_SILENCE, next)).await {
            Ok(Ok(Some(piece))) => {
                let (stream, piece) = piece?;
                pass(stream, piece, output).await;
            }
            _ => return Ok(()),
        }
    }
}

async fn pass(stream: Stream, piece: Bytes, output: &mut dyn Output) {
    if !piece.is_empty() {
        output.write(stream, piece).await;
    }
}
