//! Building an image from a Dockerfile that is part of the definition.

use std::collections::VecDeque;

use bollard::errors::Error;
use bollard::query_parameters::BuildImageOptionsBuilder;
use bytes::Bytes;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::super::trouble::answer;
use super::super::{Engine, Place, Trouble};
use super::pull;

/// How many of the last lines of a failed build are told.
const LAST_LINES: usize = 20;

/// The name of the image that this text makes: the same text is built once.
pub(super) fn name(text: &str) -> String {
    format!("patchwave-dockerfile:{}", &hex::encode(Sha256::digest(text))[..32])
}

/// Builds an image. What a Dockerfile runs is a stranger's code as a step is, and reaches what a step does.
pub(super) async fn build(
    engine: &Engine,
    place: Place,
    (name, text): (&str, &str),
    note: &mut (dyn FnMut(String) + Send),
) -> Result<(), Trouble> {
    note(format!("building the image {name} from the Dockerfile"));
    let network = engine.network(place).await.map_err(Trouble::Engine)?;
    let options = BuildImageOptionsBuilder::new()
        .dockerfile("Dockerfile")
        .t(name)
        .rm(true)
        .forcerm(true)
        .networkmode(&format!("container:{network}"))
        .build();
    let context = context(text)
        .map_err(|error| Trouble::Engine(anyhow::Error::new(error).context("cannot pack the Dockerfile")))?;
    let mut lines = engine.docker().build_image(options, None, Some(bollard::body_full(context)));
    let mut last = VecDeque::new();
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| classify(engine, name, &last, error))?;
        for text in line.stream.iter().flat_map(|text| text.lines()).filter(|text| !text.trim().is_empty()) {
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(text.to_owned());
            note(text.to_owned());
        }
    }
    Ok(())
}

fn context(text: &str) -> std::io::Result<Bytes> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "Dockerfile", text.as_bytes())?;
    archive.into_inner().map(Bytes::from)
}

fn classify(engine: &Engine, name: &str, last: &VecDeque<String>, error: Error) -> Trouble {
    let said = match (&error, answer(&error)) {
        (Error::DockerStreamError { error }, _) => error.clone(),
        // 400: the engine could not read the Dockerfile.
        (_, Some((status, message))) if status < 500 || message.contains("parse error") => message.to_owned(),
        _ => return Trouble::Engine(engine.explain(&format!("build the image `{name}`"), error)),
    };
    let registry = ["dial tcp", "no such host", "pull access denied", "manifest unknown", "net/http:"];
    if registry.iter().any(|word| said.contains(word))
        && let Some(trouble) = pull::read("of the Dockerfile's FROM", &said)
    {
        return trouble;
    }
    if said.contains("no space left on device") {
        return Trouble::Engine(engine.explain(&format!("build the image `{name}`"), error));
    }
    let lines: Vec<_> = last.iter().map(String::as_str).collect();
    Trouble::image(
        format!("the Dockerfile cannot be built: {said}\n{}", lines.join("\n")).trim_end(),
        "Try it with `docker build` on a machine of your own; it may use no files beside the Dockerfile.",
    )
}
