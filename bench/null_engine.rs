//! A container engine that runs nothing: what is left of a job's time is Patchwave's own.
//!
//! It answers the runner's requests over a socket as Docker Engine would, so that nothing in the runner knows of it. Each
//! container ends at once with 0.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;

/// The engine, for as long as this lives.
pub(crate) struct NullEngine {
    address: String,
    created: Created,
    _serving: AbortOnDropHandle<()>,
}

/// When the runner asked for the first container of each job.
type Created = Arc<Mutex<HashMap<String, DateTime<Utc>>>>;

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

impl NullEngine {
    /// Listens on a socket in this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let socket: PathBuf = folder.join("engine.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let created = Created::default();
        let serving = tokio::spawn(serve(listener, Arc::clone(&created)));
        let address = format!("unix://{}", socket.display());
        Self { address, created, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Where a runner finds it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// When the runner asked for a job's container.
    pub(crate) fn asked_for(&self, job: &str) -> Option<DateTime<Utc>> {
        self.created.lock().unwrap_or_else(PoisonError::into_inner).get(job).copied()
    }
}

async fn serve(listener: UnixListener, created: Created) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer_all(stream, Arc::clone(&created)));
    }
}

/// Answers until the other side goes away, or wants to follow a container's output, of which there is none.
async fn answer_all(stream: UnixStream, created: Created) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        if request.path.contains("/containers/create") {
            note(&request.body, &created);
        }
        let answer = answer(&request);
        stream.get_mut().write_all(answer.as_bytes()).await?;
        if answer.contains("101 ") {
            return stream.get_mut().shutdown().await;
        }
    }
    Ok(())
}

async fn read(stream: &mut BufReader<UnixStream>) -> std::io::Result<Option<Request>> {
    let (mut first, mut length) = (String::new(), 0);
    if stream.read_line(&mut first).await? == 0 {
        return Ok(None);
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Ok(Some(Request { method, path, body }))
}

fn note(body: &[u8], created: &Created) {
    let body: serde_json::Value = serde_json::from_slice(body).expect("a container is asked for in JSON");
    if let Some(job) = body["Labels"]["patchwave.job"].as_str() {
        let mut created = created.lock().unwrap_or_else(PoisonError::into_inner);
        created.entry(job.to_owned()).or_insert_with(Utc::now);
    }
}

fn answer(request: &Request) -> String {
    // The path begins with the version of the API.
    let path = request.path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && !part.starts_with("v1.")).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["_ping"]) => ok("OK".to_owned()),
        ("GET", ["version"]) => {
            json(r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12","Version":"null","Arch":"amd64"}"#)
        }
        ("GET", ["info"]) => json(r#"{"DefaultRuntime":"null","KernelVersion":"null"}"#),
        ("GET", ["containers", "json"]) => json("[]"),
        ("GET", ["images", .., "json"]) => {
            json(r#"{"Id":"sha256:6e756c6c6e756c6c6e756c6c6e756c6c6e756c6c6e756c6c6e756c6c6e756c6c"}"#)
        }
        ("POST", ["containers" | "networks", "create"]) => {
            let id = uuid::Uuid::new_v4().simple();
            with_status("201 Created", &format!(r#"{{"Id":"{id}","Warnings":[]}}"#))
        }
        ("HEAD", ["containers", _, "archive"]) if request.path.contains("bash") => empty("404 Not Found"),
        ("HEAD", ["containers", _, "archive"]) => {
            // {"name":"sh","size":1,"mode":493,"mtime":"2026-01-02T03:04:05Z","linkTarget":""}
            let stat = "eyJuYW1lIjoic2giLCJzaXplIjoxLCJtb2RlIjo0OTMsIm10aW1lIjoiMjAyNi0wMS0wMlQwMzowNDowNVoiLCJsaW5rVGFyZ2V0IjoiIn0=";
            format!("HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: {stat}\r\nContent-Length: 0\r\n\r\n")
        }
        ("POST", ["containers", _, "attach"]) => {
            "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_owned()
        }
        ("POST", ["containers", _, "wait"]) => json(r#"{"StatusCode":0}"#),
        ("GET", ["containers", _, "json"]) => {
            json(r#"{"Id":"null","State":{"Running":true,"Status":"running","Pid":1}}"#)
        }
        ("POST" | "DELETE", _) => empty("204 No Content"),
        _ => empty("404 Not Found"),
    }
}

fn json(body: &str) -> String {
    with_status("200 OK", body)
}

fn with_status(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn ok(body: String) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn empty(status: &str) -> String {
    let length = if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" };
    format!("HTTP/1.1 {status}\r\n{length}\r\n")
}
