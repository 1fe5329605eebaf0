//! Pulling an image from its registry.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt as _;

use super::super::trouble::answer;
use super::super::{Engine, Login, Trouble};

/// How often a long download is spoken of.
const PROGRESS: Duration = Duration::from_secs(5);

/// How long the engine may be silent in a pull before it is given up: nothing comes any more.
const SILENCE: Duration = Duration::from_secs(180);

/// Refuses what is no name of an image before it gets anywhere near a URL.
pub(super) fn validate(reference: &str) -> Result<(), Trouble> {
    if is_name(reference) { Ok(()) } else { Err(invalid(reference)) }
}

/// Whether a text can be the name of an image; whether it is one the engine knows better.
pub fn is_name(reference: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
    let starts = reference.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let parts = reference.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    starts && parts && reference.len() <= 512 && reference.bytes().all(plain)
}

/// The failure of a name that cannot be an image's.
pub(super) fn invalid(reference: &str) -> Trouble {
    Trouble::image(
        format!("`{reference}` is not the name of an image"),
        "Write it as `docker pull` takes it: in lower case, such as `alpine:3` or `registry.example.com/team/tool:1.2`.",
    )
}

/// Pulls an image.
pub(super) async fn pull(
    engine: &Engine,
    (reference, logins): (&str, &[Login]),
    note: &mut (dyn FnMut(String) + Send),
) -> Result<(), Trouble> {
    let login = logins.iter().find(|login| login.host == host(reference));
    match login {
        Some(login) => note(format!("pulling the image {reference} as {}", login.username)),
        None => note(format!("pulling the image {reference}")),
    }
    let began = Instant::now();
    // Without a tag the engine would pull all there are.
    let (_, last) = reference.rsplit_once('/').unwrap_or(("", reference));
    let full = if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") };
    let options = CreateImageOptionsBuilder::new().from_image(&full).build();
    let mut lines = engine.docker().create_image(Some(options), None, login.map(credentials));
    let mut progress = Progress::new();
    loop {
        let line = match tokio::time::timeout(SILENCE, lines.next()).await {
            Ok(Some(Ok(line))) => line,
            Ok(Some(Err(error))) => return Err(classify(engine, (reference, login), error)),
            Ok(None) => break,
            Err(_) => return Err(unreachable(reference, "nothing came for three minutes")),
        };
        if let Some(text) = progress.line(line) {
            note(format!("{text} ({reference})"));
        }
    }
    note(format!("pulled the image {reference} in {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// Turns the engine's many lines into few.
struct Progress {
    /// By layer: bytes that came, and bytes in all.
    layers: HashMap<String, (i64, i64)>,
    spoke: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { layers: HashMap::new(), spoke: Instant::now() }
    }

    fn line(&mut self, line: CreateImageInfo) -> Option<String> {
        let status = line.status?;
        if status != "Downloading" {
            return status.starts_with("Digest: ").then_some(status);
        }
        let (id, detail) = (line.id?, line.progress_detail?);
        self.layers.insert(id, (detail.current?, detail.total?));
        if self.spoke.elapsed() < PROGRESS {
            return None;
        }
        self.spoke = Instant::now();
        let (current, total) = self.layers.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Some(format!("downloaded {} of {} MB", current / 1_000_000, total / 1_000_000))
    }
}

/// The host of the registry that a name asks.
fn host(reference: &str) -> &str {
    match reference.split_once('/') {
        Some(("index.docker.io", _)) | None => HUB,
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        Some(_) => HUB,
    }
}

/// The registry of names that name none.
const HUB: &str = "docker.io";

fn credentials(login: &Login) -> DockerCredentials {
    let host = if login.host == HUB { "https://index.docker.io/v1/" } else { &login.host };
    DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.reveal().to_owned()),
        serveraddress: Some(host.to_owned()),
        ..DockerCredentials::default()
    }
}

fn classify(engine: &Engine, (reference, login): (&str, Option<&Login>), error: Error) -> Trouble {
    let said = match (&error, answer(&error)) {
        (Error::DockerStreamError { error }, _) => error.clone(),
        (_, Some((_, message))) => message.to_owned(),
        _ => return Trouble::Engine(engine.explain(&format!("pull the image `{reference}`"), error)),
    };
    match read_with((reference, login), &said) {
        Some(trouble) => trouble,
        None => Trouble::Engine(engine.explain(&format!("pull the image `{reference}`"), error)),
    }
}

/// Reads why a pull without a login failed; none if it is the engine's own trouble.
pub(super) fn read(reference: &str, said: &str) -> Option<Trouble> {
    read_with((reference, None), said)
}

fn read_with((reference, login): (&str, Option<&Login>), said: &str) -> Option<Trouble> {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["no space left on device", "input/output error", "read-only file system"]) {
        return None;
    }
    if has(&["invalid reference format"]) {
        return Some(invalid(reference));
    }
    if has(&["no matching manifest"]) {
        return Some(Trouble::image(
            format!("there is no image `{reference}` for the runner's processor: {said}"),
            "Use an image that was built for it.",
        ));
    }
    let wants_login = has(&["denied", "unauthorized", "authentication required", "no basic auth"]);
    if let (Some(Login { host, username, secret, .. }), true) = (login, wants_login) {
        return Some(Trouble::image(
            format!("there is no image `{reference}`, or `{host}` does not give it to {username}: {said}"),
            format!(
                "Check the name, and the login: set the password again with `patchwave secret set {secret}`, or correct \
                 `patchwave.registries` in the definition."
            ),
        ));
    }
    if wants_login {
        return Some(Trouble::image(
            format!("there is no image `{reference}`, or its registry wants a login: {said}"),
            format!(
                "Check the name. If the image is private, give the definition a login in `patchwave.registries`, or pull the \
                 image on the runner's host (`docker pull {reference}`): one that is there is used without asking the registry."
            ),
        ));
    }
    if has(&["not found", "manifest unknown", "name unknown", "does not exist"])
        && !has(&["server misbehaving"])
    {
        return Some(Trouble::image(
            format!("there is no image `{reference}`: {said}"),
            "Check the name and the tag.",
        ));
    }
    if has(&["toomanyrequests", "rate limit"]) {
        return Some(Trouble::image(
            format!("the registry does not let `{reference}` be pulled again so soon: {said}"),
            format!("Wait, or put the image there yourself: `docker pull {reference}` with a login."),
        ));
    }
    let trouble = unreachable(reference, said);
    // What a moment may mend is tried again; a host that does not exist is a matter of the name.
    match trouble {
        Trouble::User(failure) if has(&PASSING) => Some(Trouble::Registry(failure)),
        trouble => Some(trouble),
    }
}

/// What is said of a registry that may answer the next time.
const PASSING: [&str; 8] = [
    "request canceled",
    "deadline exceeded",
    "timeout",
    "connection refused",
    "connection reset",
    "unexpected EOF",
    "server misbehaving",
    "Service Unavailable",
];

fn unreachable(reference: &str, said: &str) -> Trouble {
    Trouble::image(
        format!(
            "the image `{reference}` is not on the runner's host, and its registry cannot be reached: {said}"
        ),
        format!(
            "Check the network of the runner's host, or put the image there without one: `docker save {reference} -o \
             image.tar` where it is, then `patchwave image import image.tar` on the runner's host. Then run the action again."
        ),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a panic is the test's failure")]

    use super::*;

    #[test]
    fn only_names_of_images_come_through() {
        for name in ["alpine", "alpine:3", "r.example.com:5000/a/b_c:1.2-x", "a@sha256:00ff", "sha256:00ff"] {
            assert!(validate(name).is_ok(), "{name}");
        }
        for name in
            ["", "-rm", "../containers/json", "a//b", "a?b", "a b", "a\nb", "a%2e", "a/../b", "/a", "ä", "a/"]
        {
            assert!(validate(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_says_which_registry_is_asked() {
        for (name, of) in [
            ("alpine:3", HUB),
            ("team/tool", HUB),
            ("index.docker.io/a/b", HUB),
            ("docker.io/library/alpine", HUB),
            ("localhost/a", "localhost"),
            ("r.example.com:5000/a/b@sha256:00", "r.example.com:5000"),
        ] {
            assert_eq!(host(name), of, "{name}");
        }
    }

    #[test]
    fn what_the_engine_says_becomes_what_to_do() {
        let unknown = "pull access denied for x, repository does not exist or may require 'docker login': denied: \
                       requested access to the resource is denied";
        let away =
            "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host";
        for (said, hint) in [
            (unknown, "patchwave.registries"),
            ("manifest for x:9 not found: manifest unknown: manifest unknown", "Check the name"),
            (away, "image import"),
            ("toomanyrequests: You have reached your pull rate limit", "Wait"),
            ("invalid reference format: repository name must be lowercase", "lower case"),
        ] {
            match read("x", said) {
                Some(Trouble::User(failure)) => {
                    assert!(failure.hint.contains(hint), "{said}: {}", failure.hint)
                }
                other => panic!("{said}: {other:?}"),
            }
        }
        for passing in [
            "Get \"https://r/v2/\": net/http: request canceled while waiting for connection",
            "Get \"http://127.0.0.1:9/v2/\": dial tcp 127.0.0.1:9: connect: connection refused",
        ] {
            assert!(matches!(read("x", passing), Some(Trouble::Registry(_))), "{passing}");
        }
        assert!(read("x", "write /var/lib/docker/tmp/x: no space left on device").is_none());
    }
}
