//! How requests reach the engine.
//!
//! Owns the connections and how long an idle one is kept: a job is half a dozen requests, and a connection for each costs
//! both sides more than most of the answers. Never sends a request twice once the engine may have seen it. Invariant: a
//! connection that the engine closed is not used again, so an engine that comes back is found by the next request.

use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyperlocal::UnixConnector;

/// How long the engine may take to answer. Starting a container on a busy host takes seconds, not minutes.
const ANSWER_SECONDS: u64 = 120;

/// How long a connection is kept that nobody uses: less than any engine or proxy in front of one closes it after.
const IDLE: Duration = Duration::from_secs(15);

/// Makes the client of the engine at `address`; none if that is no address of an engine. Nothing is sent yet.
pub(super) fn connect(address: &str) -> Option<Result<Docker, Error>> {
    if let Some(socket) = address.strip_prefix("unix://") {
        return Some(over(UnixConnector, &format!("unix://{}", hex::encode(socket))));
    }
    let host = address.strip_prefix("tcp://").or_else(|| address.strip_prefix("http://"))?;
    Some(over(HttpConnector::new(), &format!("http://{host}")))
}

/// The client whose connections `connector` makes, each kept for the next request.
fn over<C>(connector: C, base: &str) -> Result<Docker, Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector);
    let transport = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(Error::from) }
    };
    Docker::connect_with_custom_transport(transport, Some(base), ANSWER_SECONDS, API_DEFAULT_VERSION)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::task::JoinSet;

    use super::*;

    /// Answers every request with `OK`, and counts the connections that they come over. Dropped, it closes them all.
    fn engine(socket: &Path, connections: &Arc<AtomicUsize>) -> JoinSet<()> {
        let listener = UnixListener::bind(socket).unwrap();
        let connections = Arc::clone(connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                open.spawn(answer(stream));
            }
        });
        tasks
    }

    async fn answer(mut stream: UnixStream) {
        let mut request = Vec::new();
        while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
            if request.ends_with(b"\r\n\r\n") {
                request.clear();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn requests_share_a_connection_and_find_an_engine_that_came_back() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let connections = Arc::new(AtomicUsize::new(0));
        let first = engine(&socket, &connections);
        let docker = connect(&format!("unix://{}", socket.display())).unwrap().unwrap();
        for _ in 0..3 {
            docker.ping().await.unwrap();
        }
        assert_eq!(connections.load(Ordering::Relaxed), 1);

        drop(first);
        std::fs::remove_file(&socket).unwrap();
        let away = docker.ping().await;
        let _second = engine(&socket, &connections);
        docker.ping().await.unwrap();
        assert!(away.is_err());
        assert_eq!(connections.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_address_says_how_the_engine_is_reached() {
        assert!(connect("tcp://localhost:2375").is_some_and(|docker| docker.is_ok()));
        assert!(connect("ssh://host").is_none());
    }
}
