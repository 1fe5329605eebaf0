//! Images that come from a registry: with the login that the definition names, once, and with a word in the job's log.

use std::process::Stdio;

use broker::sealing::{Plain, seal};
use events::beat::Running;
use events::image::ImagePin;
use events::job::FailureKind;
use events::log::Stream;
use events::report::What;
use events::secret::{Scope, SecretName, SecretVersion};
use events::ticket::{Ticket, TicketSecret};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::images::{docker, make};
use super::secrets::sealing_key;
use super::world::{World, soon, stream};

const PASSWORD: &str = "hunter22";

/// The one line of the registry's users: who may log in with this password, as `htpasswd -nB` writes it.
const USERS: &str = "bot:$2y$04$0xSQ0KCK.vCsoz/AqMYuHeX3DDRTWpBJzlP7sNm9d1L5R3PDXgeXq\n";

/// A registry on this machine that lets `bot` in.
struct Registry {
    folder: tempfile::TempDir,
    host: String,
    _server: Child,
}

impl Registry {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("users"), USERS).unwrap();
        let config = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"127.0.0.1:{port}\" }}\n\
             auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n",
            path("images"),
            path("users")
        );
        std::fs::write(path("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.args(["serve", &path("config.yml")]).kill_on_drop(true);
        let server = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut server = server.unwrap_or_else(|error| panic!("docker-registry: {error}: run `make setup`"));
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        soon("a registry", async {
            while !lines.next_line().await.unwrap().unwrap().contains("listening on") {}
        })
        .await;
        // What it says later is read too, or it would wait for its reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { folder, host: format!("127.0.0.1:{port}"), _server: server }
    }

    fn name(&self) -> String {
        format!("{}/team/tool:1", self.host)
    }

    /// Stores an image that says this of itself, and leaves none on this host. Returns its id.
    async fn push(&self, says: &str) -> String {
        let (name, config) = (self.name(), self.folder.path().join("client").display().to_string());
        let id = make(&name, says).await;
        docker(&["--config", &config, "login", "-u", "bot", "--password-stdin", &self.host], PASSWORD).await;
        docker(&["--config", &config, "push", "--quiet", &name], "").await;
        self.forget().await;
        id
    }

    /// Takes the image from this host.
    async fn forget(&self) {
        let of = format!("{}/team/tool", self.host);
        for id in docker(&["images", "--quiet", "--no-trunc", &of], "").await.lines() {
            docker(&["image", "rm", "--force", id], "").await;
        }
    }
}

impl World {
    /// A ticket for a step that runs this in the registry's image, with the login that this password is.
    async fn with_login(&self, registry: &Registry, run: &str, password: &str) -> Ticket {
        let mut ticket = self.ticket(&format!("- container: {}\n  run: {run}\n", registry.name()));
        ticket.definition.source.push_str(&format!(
            "patchwave:\n  registries: [{{ host: \"{}\", username: bot, password: REGISTRY }}]\n",
            registry.host
        ));
        let name: SecretName = "REGISTRY".parse().unwrap();
        let (value, purpose) = (Plain::new(password.to_owned()), ticket.secret_purpose(&name));
        let sealed = seal(&value, &purpose, &sealing_key(self).await).unwrap();
        let secret = SecretVersion { name, scope: Scope::Global, version: 1 };
        ticket.secrets.push(TicketSecret { secret, sealed: Some(sealed) });
        ticket
    }

    /// What a job printed that must succeed, and what the runner said.
    async fn printed_and_told(&mut self, attempt: &Running) -> (String, String) {
        let What::Succeeded { log, .. } = self.end(attempt).await else {
            panic!("{:?}", self.heard(attempt))
        };
        let chunks = self.log(attempt, &log).await;
        (stream(&chunks, Stream::Stdout), stream(&chunks, Stream::Runner))
    }

    /// Why a job failed for want of its image.
    async fn no_image(&mut self, ticket: &Ticket) -> String {
        let attempt = self.send(ticket).await;
        let What::Failed { failure, .. } = self.end(&attempt).await else {
            panic!("{:?}", self.heard(&attempt))
        };
        assert_eq!(failure.kind, FailureKind::Image);
        format!("{}. {}", failure.message, failure.hint)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_image_is_pulled_with_the_login_that_the_definition_names() {
    let mut world = World::new().await;
    let registry = Registry::start().await;
    registry.push("private").await;
    let runner = world.start(world.config(1)).await;
    let without = world.no_image(&world.says(&registry.name())).await;
    assert!(without.contains("wants a login") && without.contains("patchwave.registries"), "{without}");
    let wrong = world.with_login(&registry, "cat /says", "another-password").await;
    let wrong = world.no_image(&wrong).await;
    assert!(wrong.contains("does not give it to bot") && wrong.contains("secret set REGISTRY"), "{wrong}");

    let ticket = world.with_login(&registry, "cat /says; env", PASSWORD).await;
    let attempt = world.send(&ticket).await;
    let (printed, told) = world.printed_and_told(&attempt).await;
    assert!(printed.starts_with("private\n") && !printed.contains("REGISTRY"), "{printed}");
    assert!(told.contains(&format!("pulling the image {} as bot\n", registry.name())), "{told}");
    assert!(told.contains("pulled the image") && told.contains("Digest: sha256:"), "{told}");
    assert!(!printed.contains(PASSWORD) && !told.contains(PASSWORD));
    let pins = world.pins(&attempt).unwrap();
    assert!(pins[0].digest.starts_with(&format!("{}/team/tool@sha256:", registry.host)), "{pins:?}");
    world.clean().await;
    world.close(runner).await;
    registry.forget().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_at_once_pull_an_image_once_and_a_pinned_one_by_its_digest() {
    let mut world = World::new().await;
    let registry = Registry::start().await;
    registry.push("first").await;
    let runner = world.start(world.config(4)).await;
    let mut attempts = Vec::new();
    for _ in 0..4 {
        let ticket = world.with_login(&registry, "cat /says", PASSWORD).await;
        attempts.push(world.send(&ticket).await);
    }
    let mut pulls = 0;
    for attempt in &attempts {
        let (printed, told) = world.printed_and_told(attempt).await;
        assert_eq!(printed, "first\n");
        pulls += told.matches("pulling the image").count();
    }
    assert_eq!(pulls, 1);
    let pins: Vec<ImagePin> = world.pins(&attempts[0]).unwrap();
    world.clean().await;
    // Elsewhere the tag has moved, and this host has nothing of the execution.
    registry.push("second").await;
    let ticket = world.with_login(&registry, "cat /says", PASSWORD).await;
    let attempt = world.send(&Ticket { images: pins.clone(), ..ticket }).await;
    let (printed, told) = world.printed_and_told(&attempt).await;
    assert_eq!(printed, "first\n", "{told}");
    assert!(told.contains(&format!("pulling the image {} as bot\n", pins[0].digest)), "{told}");
    let ticket = world.with_login(&registry, "cat /says", PASSWORD).await;
    let attempt = world.send(&ticket).await;
    assert_eq!(world.printed_and_told(&attempt).await.0, "second\n");
    world.clean().await;
    world.close(runner).await;
    registry.forget().await;
}
