//! Logs on a real broker: what a runner sent is what is sealed, whenever the collector dies.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

mod world;

use events::blob::Sha256;
use events::job::{Canceled, LogSealed, LossCause, Lost, Retried};
use events::log::LogEnd;

use world::{World, end_of};

fn lost(world: &World) -> Lost {
    let (runner, reason) = (world.runner(), "silence".to_owned());
    Lost { attempt: 1, runner, cause: LossCause::Runner, reason, retry_at: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_is_sealed_and_the_live_log_goes() {
    let world = World::new().await;
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<Vec<u8>> = (0..70).map(|n| [&vec![n; 60_000][..], b"\n"].concat()).collect();
    let logs: [Vec<Vec<u8>>; 4] =
        [vec![], vec![b"one\ntwo\n".to_vec()], vec![all.repeat(20), b"no final newline".to_vec()], large];
    let mut jobs = Vec::new();
    for pieces in &logs {
        let job = world.job().await;
        job.start(1).await;
        job.send(1, 1, pieces).await;
        jobs.push(job);
    }
    let collector = world.collect().await;
    for (job, pieces) in jobs.iter().zip(&logs) {
        job.succeed(1, end_of(pieces)).await;
    }
    for (job, pieces) in jobs.iter().zip(&logs) {
        let sealed = job.sealed(1).await;
        assert!(job.plain(&sealed).await == pieces.concat(), "every byte, in order");
        assert_eq!(sealed.log, end_of(pieces));
        job.purged(1).await;
    }
    collector.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_while_nobody_collected_is_sealed_at_the_next_start() {
    let world = World::new().await;
    let pieces = vec![b"a\n".to_vec(), b"b\n".to_vec()];
    let (before, between) = (world.job().await, world.job().await);
    for job in [&before, &between] {
        job.start(1).await;
        job.send(1, 1, &pieces).await;
    }
    before.succeed(1, end_of(&pieces)).await;
    let collector = world.collect().await;
    before.sealed(1).await;
    collector.stop().await;
    between.succeed(1, end_of(&pieces)).await;
    let collector = world.collect().await;
    between.sealed(1).await;
    between.purged(1).await;
    collector.stop().await;
    // Without its snapshot it reads everything again and changes nothing.
    world.forget_snapshot();
    let events = world.broker.last_sequence().await.unwrap();
    let collector = world.collect().await;
    let last = world.job().await;
    last.start(1).await;
    last.succeed(1, end_of(&[])).await;
    let sealed = last.sealed(1).await;
    assert_eq!(sealed.log.chunks, 0);
    assert_eq!(
        world.broker.last_sequence().await.unwrap(),
        events + 5,
        "queued, assigned, started, ended, sealed"
    );
    collector.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_event_and_the_purge_is_made_up_for() {
    let world = World::new().await;
    let pieces = vec![b"a\n".to_vec(), b"b".to_vec()];
    let job = world.job().await;
    job.start(1).await;
    job.send(1, 1, &pieces).await;
    job.succeed(1, end_of(&pieces)).await;
    let first = job.seal_and_die(1, &pieces).await;
    let collector = world.collect().await;
    job.purged(1).await;
    assert_eq!(job.seals(1).await, [first], "sealed once");
    collector.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_attempt_is_sealed_as_far_as_it_came_and_again_when_more_turns_up() {
    let world = World::new().await;
    let pieces: Vec<Vec<u8>> = ["1\n", "2\n", "3\n", "4\n"].map(|text| text.as_bytes().to_vec()).to_vec();
    let job = world.job().await;
    job.start(1).await;
    job.send(1, 1, &pieces[..1]).await;
    // The third came, the second is on its way again.
    job.send(1, 3, &pieces[2..3]).await;
    job.append(lost(&world)).await;
    let collector = world.collect().await;
    let sealed = job.sealed(1).await;
    assert_eq!(job.plain(&sealed).await, b"1\n3\n");
    job.purged(1).await;
    collector.stop().await;

    job.send(1, 2, &pieces[1..2]).await;
    job.send(1, 4, &pieces[3..]).await;
    let collector = world.collect().await;
    let again = job.sealed_after(1, &sealed).await;
    assert_eq!(job.plain(&again).await, b"1\n2\n3\n4\n");
    assert_eq!((again.log.chunks, again.log.lines), (4, 4));
    job.purged(1).await;
    assert_eq!(job.plain(&sealed).await, b"1\n3\n", "the first seal stays readable");
    collector.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_waited_for_however_much_is_behind_it() {
    let world = World::new().await;
    let pieces: Vec<Vec<u8>> = (1..=400).map(|number| format!("{number}\n").into_bytes()).collect();
    let (closed, open) = (world.job().await, world.job().await);
    for job in [&closed, &open] {
        job.start(1).await;
        job.send(1, 2, &pieces[1..]).await;
    }
    closed.send(1, 1, &pieces[..1]).await;
    closed.succeed(1, end_of(&pieces)).await;
    open.append(lost(&world)).await;
    let collector = world.collect().await;
    assert!(closed.plain(&closed.sealed(1).await).await == pieces.concat());
    assert!(open.plain(&open.sealed(1).await).await == pieces[1..].concat());
    closed.purged(1).await;
    open.purged(1).await;
    collector.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_run_or_never_ran_are_left_alone() {
    let world = World::new().await;
    let (running, waiting, ended) = (world.job().await, world.job().await, world.job().await);
    running.start(1).await;
    running.send(1, 1, &[b"still here".to_vec()]).await;
    waiting.append(Canceled { attempt: None, log: None }).await;
    let collector = world.collect().await;
    ended.start(1).await;
    ended.succeed(1, end_of(&[])).await;
    ended.sealed(1).await;
    collector.stop().await;
    let collector = world.collect().await;
    ended.append(Retried {}).await;
    ended.start(2).await;
    ended.append(Canceled { attempt: Some(2), log: None }).await;
    ended.sealed(2).await;
    collector.stop().await;
    assert!(running.seals(1).await.is_empty() && waiting.seals(1).await.is_empty());
    assert_eq!(world.broker.live_logs().await.unwrap().len(), 1, "the running job's");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_not_what_was_reported_is_set_aside_and_kept() {
    let world = World::new().await;
    let pieces = vec![b"a\n".to_vec(), b"b\n".to_vec()];
    let (short, wrong, good) = (world.job().await, world.job().await, world.job().await);
    for job in [&short, &wrong, &good] {
        job.start(1).await;
        job.send(1, 1, &pieces).await;
    }
    short.succeed(1, end_of(&[&pieces[..], &[b"c\n".to_vec()]].concat())).await;
    wrong.succeed(1, LogEnd { sha256: Sha256::from_bytes(&[7; 32]), ..end_of(&pieces) }).await;
    good.succeed(1, end_of(&pieces)).await;
    let collector = world.collect().await;
    good.sealed(1).await;
    good.purged(1).await;
    let letters = world.letters(2).await;
    let reason = |job: &world::Job| {
        let of = letters.iter().find(|letter| letter.subject.contains(&job.id.token())).unwrap();
        of.reason.clone()
    };
    assert!(reason(&short).contains("the broker lost chunks of it"), "{}", reason(&short));
    assert!(reason(&wrong).contains("its bytes differ"), "{}", reason(&wrong));
    assert_eq!(world.broker.live_logs().await.unwrap().len(), 2, "both are kept");
    // The chunk turns up and a person takes the letter up again.
    short.send(1, 3, &[b"c\n".to_vec()]).await;
    let letter = letters.iter().find(|letter| letter.subject.contains(&short.id.token())).unwrap();
    world.operator.retry_dead(letter.id).await.unwrap();
    let sealed: LogSealed = short.sealed(1).await;
    assert_eq!(short.plain(&sealed).await, b"a\nb\nc\n");
    // Taken up too early, a letter comes back.
    let letter = world.letters(1).await.remove(0);
    world.operator.retry_dead(letter.id).await.unwrap();
    let again = world.letters(1).await.remove(0);
    assert!(again.id != letter.id && again.reason == letter.reason, "{again:?}");
    collector.stop().await;
    // Neither a restart nor a sweep sets the other one aside again.
    let collector = world.collect().await;
    let last = world.job().await;
    last.start(1).await;
    last.succeed(1, end_of(&[])).await;
    last.sealed(1).await;
    collector.stop().await;
    assert_eq!(world.operator.dead_letters().await.unwrap().len(), 1);
    world.end().await;
}
