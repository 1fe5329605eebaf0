//! Connections: taken, bounded, and ended in order.
//!
//! Owns the way from a socket to a request. When as many are open as may be, the next waits in the system's backlog until
//! one is closed, so that nobody is turned away in a moment of many; an address that has too many is told so at once,
//! because it would keep all others waiting. Invariant: a connection counts until its socket is closed, also where it
//! became something else than HTTP.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::network;
use crate::limits::Limits;
use crate::metrics::Metrics;

/// How long to wait when the system has no more room for connections.
const PAUSE: Duration = Duration::from_secs(1);

/// How many that are turned away are told so at once, and how long each has to hear it; the others are just closed.
const TOLD: usize = 32;
const HEARING: Duration = Duration::from_secs(2);

/// What an address with too many connections gets.
const TOO_MANY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n\
                        retry-after: 5\r\ncontent-length: 139\r\n\r\n\
                        {\"error\":{\"code\":\"busy\",\"message\":\"this address has too many connections open\",\
                        \"hint\":\"Close some, or raise `--connections-per-address`.\"}}";

/// Serves connections until it is told to stop, and those that are open until they end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let door = Door::new(limits, metrics);
    // Whoever is not done in time ends with the set.
    let mut open = JoinSet::new();
    loop {
        let (socket, peer) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = open.join_next() => continue,
            entered = door.next(&listener) => entered,
        };
        open.spawn(answer(socket, peer, router.clone(), limits.head_timeout, stop.clone()));
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// Answers the requests of one connection.
async fn answer(
    socket: Socket,
    peer: SocketAddr,
    router: Router,
    head_timeout: Duration,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head_timeout);
    let mut connection = pin!(server.serve_connection(TokioIo::new(socket), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

/// Where connections come in.
struct Door {
    room: Arc<Semaphore>,
    /// The most of one address.
    most: usize,
    /// Which addresses may have all.
    exempt: fn(IpAddr) -> bool,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    told: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Door {
    fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            room: Arc::new(Semaphore::new(limits.connections.get().min(Semaphore::MAX_PERMITS))),
            most: limits.connections_per_address.map_or(usize::MAX, std::num::NonZeroUsize::get),
            exempt: |address| address.to_canonical().is_loopback(),
            by_address: Arc::default(),
            told: Arc::new(Semaphore::new(TOLD)),
            metrics,
        }
    }

    /// The next connection, once there is room for it. Nothing is lost where this is given up.
    async fn next(&self, listener: &TcpListener) -> (Socket, SocketAddr) {
        loop {
            let Ok(room) = self.room.clone().acquire_owned().await else { std::future::pending().await };
            match listener.accept().await {
                Ok((stream, peer)) => match self.admit(peer.ip(), room) {
                    Some(place) => {
                        // Small parts of a live log go out at once.
                        if let Err(error) = stream.set_nodelay(true) {
                            tracing::debug!(%error, "a connection keeps its delay");
                        }
                        return (Socket { stream, _place: place }, peer);
                    }
                    None => self.turn_away(stream),
                },
                // It was closed before it was taken.
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be taken for a moment");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// A place for a connection of this address, unless it has as many as it may have.
    fn admit(&self, address: IpAddr, room: OwnedSemaphorePermit) -> Option<Place> {
        let address = (!(self.exempt)(address)).then(|| network(address));
        if let Some(address) = address {
            let mut known = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = known.entry(address).or_default();
            if *count >= self.most {
                return None;
            }
            *count += 1;
        }
        self.metrics.connections.inc();
        let (by_address, metrics) = (self.by_address.clone(), self.metrics.clone());
        Some(Place { address, by_address, metrics, _room: room })
    }

    /// Says that there are too many, and closes.
    fn turn_away(&self, mut stream: TcpStream) {
        self.metrics.connections_refused.inc();
        let Ok(told) = self.told.clone().try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _told = told;
            let tell = async {
                stream.write_all(TOO_MANY.as_bytes()).await?;
                stream.shutdown().await?;
                // Whoever still sends would lose the answer if it was closed before.
                let mut request = [0; 1024];
                while stream.read(&mut request).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = tokio::time::timeout(HEARING, tell).await;
        });
    }
}

/// Whether an error is one connection's alone.
fn is_of_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

/// What a connection takes up as long as it is open.
struct Place {
    address: Option<IpAddr>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    metrics: Arc<Metrics>,
    _room: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.connections.dec();
        let Some(address) = self.address else { return };
        let mut known = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = known.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                known.remove(&address);
            }
        }
    }
}

/// A socket with its place.
struct Socket {
    stream: TcpStream,
    _place: Place,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::num::NonZeroUsize;

    use futures::FutureExt as _;
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    fn door(connections: usize, per_address: usize) -> Door {
        let limits = Limits {
            connections: NonZeroUsize::new(connections).unwrap(),
            connections_per_address: NonZeroUsize::new(per_address),
            ..Limits::default()
        };
        Door::new(&limits, Arc::new(Metrics::new(Counter::default())))
    }

    #[tokio::test]
    async fn who_comes_when_it_is_full_waits_until_one_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = door(1, 0);
        let _one = TcpStream::connect(address).await.unwrap();
        let (first, _) = door.next(&listener).await;
        let other = TcpStream::connect(address).await.unwrap();
        assert!(door.next(&listener).now_or_never().is_none(), "it stands in the backlog");
        assert_eq!(door.metrics.connections.get(), 1);
        drop(first);
        let (_, peer) = door.next(&listener).await;
        assert_eq!(peer, other.local_addr().unwrap());
        assert_eq!(door.metrics.connections.get(), 0);
    }

    #[tokio::test]
    async fn an_address_with_too_many_is_told_so_and_the_others_go_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door { exempt: |_| false, ..door(10, 2) };
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let first = door.next(&listener).await.0;
        let _second = door.next(&listener).await.0;
        let mut third = Box::pin(door.next(&listener));
        for client in &mut clients[2..] {
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            let mut told = String::new();
            tokio::select! {
                _ = &mut third => panic!("there is no place for it"),
                read = client.read_to_string(&mut told) => read.unwrap(),
            };
            let (head, body) = told.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with("HTTP/1.1 503 ")
                    && head.contains(&format!("content-length: {}", body.len()))
            );
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["error"]["code"], "busy");
        }
        assert_eq!(door.metrics.connections_refused.get(), 2);
        drop(first);
        let client = TcpStream::connect(address).await.unwrap();
        assert_eq!(third.await.1, client.local_addr().unwrap(), "one left, so there is a place");
    }

    #[tokio::test]
    async fn places_of_one_network_are_counted_together_and_given_back() {
        let door = door(10, 1);
        let admit = |text: &str| {
            let room = door.room.clone().try_acquire_owned().unwrap();
            door.admit(text.parse().unwrap(), room)
        };
        let one = admit("2001:db8::1");
        assert!(one.is_some() && admit("2001:db8::2").is_none(), "one network");
        assert!(admit("2001:db8:1::1").is_some() && admit("192.0.2.1").is_some());
        let local: Vec<_> = (0..5).map(|_| admit("127.0.0.1")).collect();
        assert!(local.iter().all(Option::is_some), "a proxy on this machine speaks for many");
        drop((one, local));
        assert!(door.by_address.lock().unwrap().is_empty());
        assert_eq!(door.room.available_permits(), 10);
        assert!(admit("2001:db8::2").is_some());
    }
}
