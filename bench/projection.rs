//! The projection: how soon an event is in the tables, and how fast they are made anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::server::Sync;
use broker::{Broker, Start};
use futures::{StreamExt as _, stream};
use tokio::sync::watch;

use crate::figure::{Figure, Goal, percentile};
use crate::stage::Stage;
use crate::{block_on, histories};

/// Jobs in the log that is folded anew; six events each.
const JOBS: u64 = 40_000;

/// Events a second while the latency is measured, and for how long.
const RATE: u64 = 1_000;
const SECONDS: u64 = 10;

/// From the publication of an event to its row, at a steady rate, beside a bare consumer of the same stream.
///
/// The broker syncs once a second: with a sync for each message, a thousand a second are more than many disks take, and
/// the queue before the disk would be what is measured, on both sides.
pub(crate) fn latency() -> Vec<Figure> {
    block_on(async {
        let mut stage = Stage::open(Sync::EverySecond, &[]).await;
        stage.project().await;
        let reader = stage.connect("gateway").await;
        let projected = reader.follow_projector();
        let consumed = consume(&reader);
        let scheduler = Arc::new(stage.connect("scheduler").await);
        let (ours, floor) = publish(&scheduler, projected, consumed).await;
        stage.close().await;
        let of = |share| (percentile(&ours, share), ("a bare consumer", percentile(&floor, share)));
        let ((p50, floor_p50), (p99, floor_p99)) = (of(0.5), of(0.99));
        vec![
            Figure::against("publish_to_projected_p50_ms", "ms", p50, floor_p50, Goal::AtMost(3.0)),
            Figure::against("publish_to_projected_p99_ms", "ms", p99, floor_p99, Goal::AtMost(3.0)),
        ]
    })
}

/// The sequence that a bare consumer has seen, as a value to watch.
fn consume(broker: &Broker) -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    let mut follower = broker.follow_events(&["ev.>".to_owned()], Start::After(0));
    tokio::spawn(async move {
        while let Ok(batch) = follower.next().await {
            if let Some(last) = batch.messages.last() {
                sender.send_replace(last.sequence);
            }
        }
    });
    receiver
}

/// Publishes at the rate and returns, in milliseconds and sorted, how long each event took until both had it.
async fn publish(
    broker: &Arc<Broker>,
    projected: watch::Receiver<u64>,
    consumed: watch::Receiver<u64>,
) -> (Vec<f64>, Vec<f64>) {
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
    let mut waiting = Vec::new();
    for number in 0..RATE * SECONDS {
        ticks.tick().await;
        let event = histories::job(number).remove(0);
        let (broker, projected, consumed) = (Arc::clone(broker), projected.clone(), consumed.clone());
        waiting.push(tokio::spawn(async move {
            let start = Instant::now();
            let sequence = broker.append(&event, 0).await.expect("it is appended").sequence;
            let reached = |mut place: watch::Receiver<u64>| async move {
                place.wait_for(|place| *place >= sequence).await.expect("somebody follows");
                start.elapsed().as_secs_f64() * 1_000.0
            };
            tokio::join!(reached(projected), reached(consumed))
        }));
    }
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for task in waiting {
        let (projected, consumed) = task.await.expect("an event was published");
        ours.push(projected);
        floor.push(consumed);
    }
    ours.sort_by(f64::total_cmp);
    floor.sort_by(f64::total_cmp);
    (ours, floor)
}

/// Events a second when the tables are made anew, beside bare consumption of the same stream.
pub(crate) fn rebuild() -> Vec<Figure> {
    block_on(async {
        let stage = Stage::open(Sync::EverySecond, &[]).await;
        fill(&stage.connect("scheduler").await).await;
        let operator = stage.connect("operator").await;
        let events = operator.last_sequence().await.expect("the end of the log");
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let start = Instant::now();
            let mut follower = operator.follow_events(&["ev.>".to_owned()], Start::After(0));
            while follower
                .next()
                .await
                .expect("the log")
                .messages
                .last()
                .is_none_or(|last| last.sequence < events)
            {}
            floor.push(events as f64 / start.elapsed().as_secs_f64());
            let start = Instant::now();
            projector::rebuild(&stage.database(), &operator, |_| ()).await.expect("a rebuild");
            ours.push(events as f64 / start.elapsed().as_secs_f64());
        }
        stage.close().await;
        ours.sort_by(f64::total_cmp);
        floor.sort_by(f64::total_cmp);
        let against = ("bare consumption", percentile(&floor, 0.5));
        vec![Figure::against(
            "rebuild_vs_raw_consume",
            "events/s",
            percentile(&ours, 0.5),
            against,
            Goal::AtLeast(0.5),
        )]
    })
}

/// Writes the histories of all jobs, those of different jobs at once.
async fn fill(broker: &Broker) {
    stream::iter(0..JOBS)
        .for_each_concurrent(256, |number| async move {
            let mut expected = 0;
            for event in histories::job(number) {
                expected = broker.append(&event, expected).await.expect("it is appended").sequence;
            }
        })
        .await;
}
