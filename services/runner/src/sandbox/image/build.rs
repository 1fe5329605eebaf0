//! Building an image from a Dockerfile that is part of the definition.
//!
//! Owns what a build may do: what a Dockerfile runs is a stranger's code as a step is, and has the limits and the
//! network of the job that asks for it; an image that outgrows them is taken away again. Invariant: nobody gets a
//! network in which a build that was cut off may still run.

use std::collections::VecDeque;
use std::time::SystemTime;

use bollard::errors::Error;
use bollard::query_parameters::{BuildImageOptions, BuildImageOptionsBuilder};
use bytes::Bytes;
use events::job::{Failure, LimitName};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio_util::task::AbortOnDropHandle;

use super::super::trouble::answer;
use super::super::{Engine, Grant, Place, Trouble, limits};
use super::pull;
use super::size::Growth;
use crate::limits::reached;

/// How many of the last lines of a failed build are told.
const LAST_LINES: usize = 20;

/// The period over which the engine counts processor time, in microseconds.
const CPU_PERIOD: i32 = 100_000;

/// What the engine says before it runs a line of the Dockerfile, and then the first part of the container's id.
const RUNNING: &str = " ---> Running in ";

/// What all images are called that were built here.
const REPOSITORY: &str = "patchwave-dockerfile";

/// The name of the image that this text makes: the same text is built once.
pub(super) fn name(text: &str) -> String {
    format!("{REPOSITORY}:{}", &hex::encode(Sha256::digest(text))[..32])
}

/// Whether an image of this name was built here.
pub(super) fn is_own(name: &str) -> bool {
    name.split_once(':').is_some_and(|(repository, _)| repository == REPOSITORY)
}

/// Builds an image.
pub(super) async fn build(
    engine: &Engine,
    grant: Grant<'_>,
    (name, text): (&str, &str),
    note: &mut (dyn FnMut(String) + Send),
) -> Result<(), Trouble> {
    note(format!("building the image {name} from the Dockerfile"));
    let network = engine.network(grant.place).await.map_err(Trouble::Engine)?;
    let context = context(text)
        .map_err(|error| Trouble::Engine(anyhow::Error::new(error).context("cannot pack the Dockerfile")))?;
    let began = SystemTime::now();
    let mut running = Running { engine, place: grant.place, is_over: false };
    let parameters = limits::build_parameters(grant.limits).map_err(|error| Trouble::Engine(error.into()))?;
    let docker = engine.docker().clone().with_request_modifier(move |mut request| {
        // The library's own options hold less than 2 GiB of memory, and know no bounds of a process.
        if let Ok(address) = format!("{}&{parameters}", request.uri()).parse() {
            *request.uri_mut() = address;
        }
        request
    });
    let mut lines =
        docker.build_image(options(name, &network, grant), None, Some(bollard::body_full(context)));
    let mut said = Said::default();
    let most = grant.limits.image_bytes;
    let mut growth = AbortOnDropHandle::new(tokio::spawn(Growth::new(engine, &network, most).reached()));
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            _ = &mut growth => return Err(too_large(most)),
        };
        match line {
            None => break,
            Some(Ok(line)) => said.take(&line.stream.unwrap_or_default(), note),
            Some(Err(error)) => {
                let trouble = said.classify(engine, name, error);
                running.is_over = !matches!(trouble, Trouble::Engine(_));
                return Err(match &trouble {
                    Trouble::User(_)
                        if engine
                            .ran_out_of_memory(&said.containers, began..SystemTime::now() + limits::LATE)
                            .await =>
                    {
                        out_of_memory(grant)
                    }
                    _ => trouble,
                });
            }
        }
    }
    running.is_over = true;
    // What a line wrote between two looks is in the image.
    if engine.bytes_beyond_base(name).await.map_err(Trouble::Engine)? > most {
        engine.remove_image(name).await.map_err(Trouble::Engine)?;
        return Err(too_large(most));
    }
    Ok(())
}

fn options(name: &str, network: &str, grant: Grant<'_>) -> BuildImageOptions {
    let options = BuildImageOptionsBuilder::new()
        .dockerfile("Dockerfile")
        .t(name)
        .rm(true)
        .forcerm(true)
        .networkmode(&format!("container:{network}"));
    match grant.limits.cpu_millis.and_then(|millis| i32::try_from(millis).ok()) {
        Some(millis) => {
            options.cpuperiod(CPU_PERIOD).cpuquota(millis.saturating_mul(CPU_PERIOD / 1000)).build()
        }
        None => options.build(),
    }
}

fn context(text: &str) -> std::io::Result<Bytes> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "Dockerfile", text.as_bytes())?;
    archive.into_inner().map(Bytes::from)
}

/// A build that the engine works on, until it says how it ended.
struct Running<'a> {
    engine: &'a Engine,
    place: Place,
    is_over: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.engine.networks().distrust(self.place);
        }
    }
}

/// What the engine says of a build.
#[derive(Default)]
struct Said {
    last: VecDeque<String>,
    /// Which containers it ran, as far as it is to be believed: what it runs can write such lines too, and would only have
    /// its own failure called by another name.
    containers: Vec<String>,
    /// What the last FROM names.
    from: Option<String>,
}

impl Said {
    fn take(&mut self, text: &str, note: &mut (dyn FnMut(String) + Send)) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if self.last.len() == LAST_LINES {
                self.last.pop_front();
            }
            self.last.push_back(line.to_owned());
            if let Some(id) = line.strip_prefix(RUNNING) {
                self.containers.push(id.trim().to_owned());
            }
            if let Some(from) = from(line) {
                self.from = Some(from.to_owned());
            }
            note(line.to_owned());
        }
    }

    fn classify(&self, engine: &Engine, name: &str, error: Error) -> Trouble {
        let said = match (&error, answer(&error)) {
            (Error::DockerStreamError { error }, _) => error.clone(),
            // 400: the engine could not read the Dockerfile.
            (_, Some((status, message))) if status < 500 || message.contains("parse error") => {
                message.to_owned()
            }
            _ => return Trouble::Engine(engine.explain(&format!("build the image `{name}`"), error)),
        };
        let registry = ["dial tcp", "no such host", "pull access denied", "manifest unknown", "net/http:"];
        if registry.iter().any(|word| said.contains(word))
            && let Some(trouble) = pull::read(self.from.as_deref().unwrap_or("?"), &said)
        {
            let why = |failure: Failure| Failure { message: cannot(&failure.message), ..failure };
            return match trouble {
                Trouble::User(failure) => Trouble::User(why(failure)),
                Trouble::Registry(failure) => Trouble::Registry(why(failure)),
                Trouble::Engine(error) => Trouble::Engine(error),
            };
        }
        if said.contains("no space left on device") {
            return Trouble::Engine(engine.explain(&format!("build the image `{name}`"), error));
        }
        let lines: Vec<_> = self.last.iter().map(String::as_str).collect();
        Trouble::image(
            format!("{}\n{}", cannot(&said), lines.join("\n")).trim_end(),
            "Try it with `docker build` on a machine of your own; it may use no files beside the Dockerfile.",
        )
    }
}

/// The image that a step of the build begins with, if it is one that says so: `Step 1/3 : FROM alpine AS base`.
fn from(line: &str) -> Option<&str> {
    let (step, instruction) = line.split_once(" : ")?;
    let mut words = instruction.split_whitespace();
    let is_from = step.starts_with("Step ") && words.next()?.eq_ignore_ascii_case("FROM");
    words.find(|word| !word.starts_with("--")).filter(|_| is_from)
}

fn cannot(why: &str) -> String {
    format!("the Dockerfile cannot be built: {why}")
}

fn out_of_memory(grant: Grant<'_>) -> Trouble {
    let failure = reached(LimitName::Memory, grant.limits.memory_bytes);
    Trouble::User(Failure { message: cannot(&failure.message), ..failure })
}

fn too_large(most: u64) -> Trouble {
    let failure = reached(LimitName::ImageBytes, most);
    let limit = failure.limit.as_ref().map(ToString::to_string).unwrap_or_default();
    let why = format!("the image may have {limit} more than the one that it begins with, and became larger");
    Trouble::User(Failure { message: cannot(&why), ..failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_that_a_dockerfile_begins_with_is_found() {
        for (line, image) in [
            ("Step 1/2 : FROM alpine:3", Some("alpine:3")),
            ("Step 10/12 : from --platform=linux/arm64 a/b AS c", Some("a/b")),
            ("Step 2/2 : RUN echo FROM x", None),
            ("Step 1/1 : FROM", None),
            (" ---> Running in 0123", None),
        ] {
            assert_eq!(from(line), image, "{line}");
        }
    }
}
