//! Prints a line for each execution that has ended.
//!
//! ```text
//! patchwave events subscribe ends 'ev.execution.*.completed' --from 1 --json >ends.json
//! cargo run -p cli --example subscriber ends.json
//! ```
//!
//! It remembers nothing: its durable consumer does. Killed at any moment and started again, it misses no event; one may come
//! twice, and has the same id then. `docs/subscribing.md` says more.

use std::error::Error;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, Context};
use futures::StreamExt as _;
use serde_json::Value;

/// How often the broker says that it is there while nothing happens.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let file = std::env::args().nth(1).ok_or("usage: subscriber SUBSCRIPTION.json")?;
    let subscription: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let of = |key: &str| subscription[key].as_str().unwrap_or_default().to_owned();
    let client = ConnectOptions::with_user_and_password(of("user"), of("password"))
        .custom_inbox_prefix(of("inbox_prefix"))
        .connect(of("url"))
        .await?;
    let jetstream = jetstream::with_prefix(client, &of("api_prefix"));
    loop {
        // Whatever was not acknowledged comes again, so that nothing has to be known of what went before.
        if let Err(error) = follow(&jetstream, &of("stream"), &of("consumer")).await {
            if error.is::<Unknown>() {
                return Err(error);
            }
            eprintln!("once more after: {error}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn follow(jetstream: &Context, stream: &str, consumer: &str) -> Result<(), Failure> {
    let consumer: PullConsumer = jetstream.get_consumer_from_stream(consumer, stream).await?;
    let mut messages = consumer.stream().heartbeat(SIGN_OF_LIFE).messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        println!("{}", line(&message)?);
        // Only now: what is acknowledged never comes again.
        message.ack().await?;
    }
    Ok(())
}

/// The event's id, its place in the log, which execution ended, and how.
fn line(message: &jetstream::Message) -> Result<String, Failure> {
    let header = |name: &str| {
        let headers = message.headers.as_ref();
        headers.and_then(|headers| headers.get(name)).map(ToString::to_string).unwrap_or_default()
    };
    let (kind, version) = (header("ce-type"), header("ce-dataversion"));
    if (kind.as_str(), version.as_str()) != ("execution.completed", "1") {
        return Err(Unknown(format!("{kind} of version {version}")).into());
    }
    let event: Value = serde_json::from_slice(&message.payload)?;
    let sequence = message.info()?.stream_sequence;
    let outcome = event["outcome"].as_str().unwrap_or_default();
    Ok(format!("{} {sequence} {} {outcome}", header("ce-id"), header("ce-source")))
}

/// A later version of Patchwave wrote it: better to stop and be brought up to date than to guess or to pass it over.
#[derive(Debug)]
struct Unknown(String);

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this subscriber does not know {}", self.0)
    }
}

impl Error for Unknown {}
