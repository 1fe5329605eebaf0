//! One broker, one projector, one gateway, and whoever else has a word in a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker::server::{Server, ServerConfig, Sync, locate};
use broker::{Broker, Proof};
use chrono::Utc;
use events::beat::Running;
use events::envelope::{Actor, NewEvent, Origin};
use events::id::{CommandId, ExecutionId, JobId, RunnerId};
use events::log::{Chunk, Stream};
use events::{Aggregate, Event, job};
use gateway::{Auth, Limits, Pace, ProviderConfig, PublicUrl, Token};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::postgres;

/// Nothing here takes longer unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The most bytes of an archive that the gateways here take.
pub(crate) const FILES_LIMIT: u64 = 2_000_000;

pub(crate) const DEFINITION: &str = "name: tidy\ndescription: Tidies.\nsteps:\n  - run: echo 1\n    container: alpine\nchangesetTemplate:\n  title: Tidy\n  branch: tidy\n  commit:\n    message: Tidy\n";

pub(crate) struct World {
    server: Option<Server>,
    folder: tempfile::TempDir,
    database_url: String,
    pub(crate) url: String,
    /// What makes whoever shows it the administrator `local`.
    pub(crate) token: Token,
    client: reqwest::Client,
    gateway: Role,
    projector: Option<Role>,
}

struct Role {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Role {
    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").unwrap().unwrap();
    }
}

async fn connect(server: &Server, user: &str) -> Broker {
    let config = server.client(user, PATIENCE).unwrap();
    Broker::connect(&config).await.unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}/projection.sqlite", folder.path().display());
        Self::over(folder, database_url).await
    }

    /// One on each engine.
    pub(crate) async fn on_both() -> [Self; 2] {
        let name = format!("gateway_{}", uuid::Uuid::new_v4().simple());
        let database_url = postgres::Postgres::shared().database(&name);
        [Self::new().await, Self::over(tempfile::tempdir().unwrap(), database_url).await]
    }

    async fn over(folder: tempfile::TempDir, database_url: String) -> Self {
        let config = ServerConfig {
            folder: folder.path().join("broker"),
            port: None,
            runners: vec![runner()],
            sync: Sync::EverySecond,
        };
        let server = Server::start(locate(None).unwrap(), config).await.unwrap();
        connect(&server, "provisioner").await.provision(&broker::CacheLimits::default()).await.unwrap();
        let projector = project(&server, &database_url).await;

        let token = Token::random().unwrap();
        let auth = Auth::Users { local: token.clone() };
        let (gateway, url) = serve(&server, &database_url, (auth, Limits::default(), Pace::default())).await;
        let client = showing(Some(token.reveal()));
        let (server, projector) = (Some(server), Some(projector));
        Self { server, folder, database_url, url, token, client, gateway, projector }
    }

    pub(crate) async fn broker(&self, user: &str) -> Broker {
        connect(self.server.as_ref().unwrap(), user).await
    }

    pub(crate) async fn stop_projector(&mut self) {
        self.projector.take().unwrap().end().await;
    }

    pub(crate) async fn start_projector(&mut self) {
        self.projector = Some(project(self.server.as_ref().unwrap(), &self.database_url).await);
    }

    /// Changes the projection behind everybody's back.
    pub(crate) async fn change_projection(&self, statements: &'static str) {
        let mut connection = sqlx::AnyConnection::connect(&self.database_url).await.unwrap();
        sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Why a second gateway does not start.
    pub(crate) async fn refusal(&self) -> String {
        let auth = Auth::Users { local: self.token.clone() };
        let how = (auth, Limits::default(), Pace::default());
        let (gateway, _) = serve(self.server.as_ref().unwrap(), &self.database_url, how).await;
        let ended = tokio::time::timeout(PATIENCE, gateway.task).await.expect("it gives up");
        ended.unwrap().unwrap_err().to_string()
    }

    /// Stops the broker; says on which port it was.
    pub(crate) async fn stop_broker(&mut self) -> u16 {
        let server = self.server.take().unwrap();
        let port = server.url().rsplit(':').next().unwrap().parse().unwrap();
        server.stop().await;
        port
    }

    /// Stops the broker and starts it again on the same data and port.
    pub(crate) async fn restart_broker(&mut self) {
        let port = self.stop_broker().await;
        self.start_broker(port).await;
    }

    /// Starts the broker again on the same data.
    pub(crate) async fn start_broker(&mut self, port: u16) {
        let config = ServerConfig {
            folder: self.folder.path().join("broker"),
            port: Some(port),
            runners: vec![runner()],
            sync: Sync::EverySecond,
        };
        self.server = Some(Server::start(locate(None).unwrap(), config).await.unwrap());
    }

    pub(crate) async fn end(self) {
        self.gateway.end().await;
        if let Some(projector) = self.projector {
            projector.end().await;
        }
        self.server.unwrap().stop().await;
    }

    /// A second gateway beside the first, where everybody may do everything.
    pub(crate) async fn open_gateway(&self) -> String {
        self.gateway_beside(Auth::None, Limits::default()).await
    }

    /// A second gateway beside the first, of its own kind.
    pub(crate) async fn gateway_beside(&self, auth: Auth, limits: Limits) -> String {
        self.another_gateway((auth, limits, Pace::default())).await
    }

    /// Another gateway that knows the same users, and looks after connections at a pace of its own.
    pub(crate) async fn gateway_at(&self, pace: Pace) -> String {
        self.another_gateway((Auth::Users { local: self.token.clone() }, Limits::default(), pace)).await
    }

    async fn another_gateway(&self, how: (Auth, Limits, Pace)) -> String {
        serve(self.server.as_ref().unwrap(), &self.database_url, how).await.1
    }

    /// An address for a gateway that is to be, and its URL.
    pub(crate) async fn listener() -> (TcpListener, String) {
        let auth = Auth::Users { local: Token::random().unwrap() };
        let listener = gateway::bind("127.0.0.1:0".parse().unwrap(), &auth).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url)
    }

    /// A second gateway beside the first, where people sign in with a provider.
    pub(crate) async fn gateway_on(&self, listener: TcpListener, provider: ProviderConfig) {
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        self.gateway_known_as(url, listener, Some(provider)).await;
    }

    /// A second gateway beside the first, which people reach under a URL.
    pub(crate) async fn gateway_known_as(
        &self,
        public_url: PublicUrl,
        listener: TcpListener,
        provider: Option<ProviderConfig>,
    ) {
        let auth = Auth::Users { local: self.token.clone() };
        let public_url = Some(public_url);
        let settings = gateway::Config { public_url, provider, ..settings(&self.database_url, auth) };
        serve_on(listener, self.server.as_ref().unwrap(), settings).await;
    }

    /// Two gateways behind one address, which lead people to providers; each connection meets the other one than the last. Says
    /// how many connections there were.
    pub(crate) async fn gateways_behind(
        &self,
        listener: TcpListener,
        providers: [ProviderConfig; 2],
    ) -> Arc<AtomicUsize> {
        let url: PublicUrl = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let mut gateways = Vec::new();
        for provider in providers {
            let (listener, _) = Self::listener().await;
            gateways.push(listener.local_addr().unwrap());
            self.gateway_known_as(url.clone(), listener, Some(provider)).await;
        }
        let met = Arc::new(AtomicUsize::new(0));
        let count = met.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let gateway = gateways[count.fetch_add(1, Ordering::SeqCst) % gateways.len()];
                tokio::spawn(async move {
                    let mut gateway = TcpStream::connect(gateway).await.unwrap();
                    // Whoever has heard enough goes away.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut gateway).await;
                });
            }
        });
        met
    }

    /// Where the broker keeps its streams.
    pub(crate) fn broker_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("broker")
    }

    /// Stops the gateway alone.
    pub(crate) fn tell_gateway_to_stop(&self) {
        self.gateway.stop.cancel();
    }

    /// The whole answer to a GraphQL request.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        let request = json!({ "query": query, "variables": variables });
        let response = self.client.post(format!("{}/graphql", self.url)).json(&request).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// The data of a GraphQL request that succeeds.
    #[track_caller]
    pub(crate) fn data(&self, query: &str, variables: Value) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let mut answer = self.ask(query, variables).await;
            assert_eq!(answer["errors"], Value::Null, "{place}: {answer:#}");
            answer["data"].take()
        }
    }

    /// The error of a GraphQL request that is refused.
    pub(crate) async fn error(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask(query, variables).await;
        let error = answer["errors"][0].take();
        assert!(error["message"].is_string(), "{answer:#}");
        error
    }

    pub(crate) async fn apply(&self, source: &str, mutation_id: Option<&str>) -> Value {
        let input = json!({ "fileName": "tidy.batch.yaml", "source": source, "mutationId": mutation_id });
        let query = "mutation($input: ApplyActionInput!) { applyAction(input: $input) { changed warnings sequence
            action { id name description revision archived definition { fileName source given { title } } } } }";
        self.data(query, json!({ "input": input })).await["applyAction"].take()
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Appends what a service says, and waits until the projection has it.
    pub(crate) async fn append(&self, user: &str, aggregate: Aggregate, event: impl Into<Event>) -> u64 {
        let broker = self.broker(user).await;
        let last = broker.history(&aggregate).await.unwrap().pop();
        let expected = last.as_ref().map_or(0, |last| last.sequence);
        let correlation = match &aggregate {
            Aggregate::Execution(id) | Aggregate::Job(id, _) => id.to_string(),
            _ => execution().to_string(),
        };
        let origin = Origin {
            command: CommandId::from_uuid(uuid::Uuid::now_v7()),
            actor: Actor::service(user),
            correlation,
            causation: last.map(|last| last.id),
            trace_parent: None,
        };
        let event = NewEvent { aggregate, event: event.into(), time: Utc::now(), origin };
        let sequence = broker.append(&event, expected).await.unwrap().sequence;
        if self.projector.is_some() {
            let mut reached = self.broker("gateway").await.follow_projector();
            let reached = reached.wait_for(|reached| *reached >= sequence);
            tokio::time::timeout(PATIENCE, reached).await.expect("the projection comes so far").unwrap();
        }
        sequence
    }

    /// Stores what nobody can read, as a later build's event is to this one.
    pub(crate) async fn append_unreadable(&self, subject: &'static str) {
        let config = self.server.as_ref().unwrap().client("scheduler", PATIENCE).unwrap();
        let Proof::Password(password) = config.proof else { panic!("a service has a password") };
        let options = async_nats::ConnectOptions::with_user_and_password(config.user, password);
        let inbox = format!("_INBOX.{}", config.role);
        let client = options.custom_inbox_prefix(inbox).connect(config.url).await.unwrap();
        client.publish(subject, "?".into()).await.unwrap();
        client.flush().await.unwrap();
    }

    /// A job of an execution that was given to a runner.
    pub(crate) async fn running_job(&self) -> JobId {
        let job = JobId::derived(&["one"]);
        let workspace = json!({
            "repository": "r", "url": "/r", "base_ref": "refs/heads/main", "base_oid": "a".repeat(40), "path": "",
            "source": { "kind": "source", "sha256": "b".repeat(64), "size": 1 },
        });
        let queued = job::Queued { workspace: serde_json::from_value(workspace).unwrap() };
        self.append_job(job, queued).await;
        self.append_job(job, job::Assigned { attempt: 1, runner: runner(), secrets: Vec::new() }).await;
        self.append_job(job, job::Started { attempt: 1 }).await;
        job
    }

    pub(crate) async fn append_job(&self, job: JobId, event: impl Into<job::Event>) -> u64 {
        self.append("scheduler", Aggregate::Job(execution(), job), Event::Job(event.into())).await
    }

    /// Sends a chunk of the first attempt's log.
    pub(crate) async fn chunk(&self, job: JobId, number: u64, first_line: u64, text: &str) {
        let bytes = text.as_bytes().to_vec();
        let chunk = Chunk { number, first_line, step: 1, stream: Stream::Stdout, time: Utc::now(), bytes };
        let broker = self.broker("runner-local").await;
        broker.send_chunk(&runner(), &Running { job, attempt: 1 }, &chunk).await.stored().await.unwrap();
    }
}

/// Whoever shows a token with each request, or none.
pub(crate) fn showing(token: Option<&str>) -> reqwest::Client {
    let header = |token: &str| (reqwest::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    let headers = token.into_iter().map(header).collect();
    // All clients of this program have the same; it may be there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().default_headers(headers).build().unwrap()
}

async fn serve(
    server: &Server,
    database_url: &str,
    (auth, limits, pace): (Auth, Limits, Pace),
) -> (Role, String) {
    let (listener, url) = World::listener().await;
    let settings = gateway::Config { limits, pace, ..settings(database_url, auth) };
    (serve_on(listener, server, settings).await, url)
}

/// A gateway as it is unless somebody says otherwise.
fn settings(database_url: &str, auth: Auth) -> gateway::Config {
    gateway::Config {
        database_url: database_url.to_owned(),
        files_limit_bytes: FILES_LIMIT,
        auth,
        limits: Limits::default(),
        pace: Pace::default(),
        public_url: None,
        provider: None,
    }
}

async fn serve_on(listener: TcpListener, server: &Server, settings: gateway::Config) -> Role {
    let (broker, stop) = (connect(server, "gateway").await, CancellationToken::new());
    Role { task: tokio::spawn(gateway::run(settings, listener, broker, stop.clone())), stop }
}

async fn project(server: &Server, database_url: &str) -> Role {
    let (broker, stop) = (connect(server, "projector").await, CancellationToken::new());
    let config = projector::Config { database_url: database_url.to_owned() };
    Role { task: tokio::spawn(projector::run(config, broker, stop.clone())), stop }
}

/// The execution that jobs belong to.
pub(crate) fn execution() -> ExecutionId {
    ExecutionId::derived(&["the execution"])
}

pub(crate) fn runner() -> RunnerId {
    "local".parse().unwrap()
}
