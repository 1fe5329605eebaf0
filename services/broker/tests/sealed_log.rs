//! Sealed logs on a real broker: whatever the chunks, every byte and every line is where it belongs.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

use std::time::Duration;

use broker::Broker;
use broker::sealed_log::{SealedLog, SealedLogError, SealedLogWriter};
use broker::server::{Server, ServerConfig, Sync, locate};
use events::blob::{BlobKind, BlobRef};
use events::log::{Chunk, LogEnd, Stream};
use futures::TryStreamExt as _;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};

struct World {
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    broker: Broker,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (server, broker) = runtime.block_on(async {
            let path = folder.path().to_owned();
            let config =
                ServerConfig { folder: path, port: None, runners: Vec::new(), sync: Sync::EverySecond };
            let server = Server::start(locate(None).unwrap(), config).await.unwrap();
            connect(&server, "provisioner").await.provision(&broker::CacheLimits::default()).await.unwrap();
            let broker = connect(&server, "log-collector").await;
            (server, broker)
        });
        Self { runtime, server: Some(server), broker, _folder: folder }
    }

    fn store(&self, chunks: &[Chunk]) -> (BlobRef, LogEnd, Vec<u8>) {
        let mut writer = SealedLogWriter::new(Vec::new()).unwrap();
        for chunk in chunks {
            writer.write(chunk).unwrap();
        }
        let (sealed, end) = writer.finish().unwrap();
        let blob = self.runtime.block_on(self.broker.put_blob(BlobKind::Log, &sealed)).unwrap();
        (blob, end, sealed)
    }

    fn open(&self, blob: &BlobRef) -> SealedLog {
        self.runtime.block_on(SealedLog::open(&self.broker, blob)).unwrap()
    }

    fn read_from(&self, log: &SealedLog, line: u64) -> Vec<u8> {
        let pieces: Vec<bytes::Bytes> = self.runtime.block_on(log.from_line(line).try_collect()).unwrap();
        pieces.concat()
    }

    fn range(&self, log: &SealedLog, range: std::ops::Range<u64>) -> Result<Vec<u8>, SealedLogError> {
        let pieces: Vec<bytes::Bytes> = self.runtime.block_on(log.range(range).try_collect())?;
        Ok(pieces.concat())
    }

    fn chunks_after(&self, log: &SealedLog, number: u64) -> Vec<Chunk> {
        self.runtime.block_on(log.chunks_after(number).try_collect()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

async fn connect(server: &Server, user: &str) -> Broker {
    let config = server.client(user, Duration::from_secs(10)).unwrap();
    Broker::connect(&config).await.unwrap()
}

fn chunk(number: u64, bytes: Vec<u8>) -> Chunk {
    let millis = 1_700_000_000_000 + i64::try_from(number).unwrap() * 100;
    Chunk {
        number,
        first_line: 0,
        step: u32::try_from(number % 5).unwrap(),
        stream: [Stream::Stdout, Stream::Stderr, Stream::Runner][usize::try_from(number % 3).unwrap()],
        time: events::Timestamp::from_timestamp_millis(millis).unwrap(),
        bytes,
    }
}

/// The bytes from a line on, found the slow way.
fn expected_from(plain: &[u8], line: u64) -> &[u8] {
    let feeds = plain.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1);
    let starts: Vec<usize> = std::iter::once(0).chain(feeds).collect();
    let index = usize::try_from(line.max(1) - 1).unwrap();
    starts.get(index).map_or(&[], |start| &plain[*start..])
}

/// Few line feeds, or many; small chunks, or so large that frames are filled.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n')], 0..200);
    let large = (any::<u8>(), 20_000..65_536usize, 1..9_000usize).prop_map(|(byte, length, every)| {
        (0..length).map(|place| if place % every == 0 { b'\n' } else { byte }).collect()
    });
    prop_oneof![4 => text, 2 => large]
}

#[test]
fn any_chunks_read_back_from_any_line_and_any_chunk() {
    let world = World::new();
    let strategy = (prop::collection::vec((1..3u64, bytes()), 0..60), any::<prop::sample::Index>());
    TestRunner::new(Runs { failure_persistence: None, ..Runs::with_cases(48) })
        .run(&strategy, |(pieces, at)| {
            // Numbers may have gaps: a lost runner leaves some.
            let mut number = 0;
            let chunks: Vec<Chunk> = pieces
                .into_iter()
                .map(|(step, bytes)| {
                    number += step;
                    chunk(number, bytes)
                })
                .collect();
            let plain: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
            let (blob, end, sealed) = world.store(&chunks);
            prop_assert!(zstd::decode_all(&sealed[..]).unwrap() == plain, "any zstd gives the log");
            let lines = plain.split_inclusive(|byte| *byte == b'\n').count() as u64;
            prop_assert_eq!(
                (end.chunks, end.bytes, end.lines),
                (chunks.len() as u64, plain.len() as u64, lines)
            );

            let log = world.open(&blob);
            prop_assert_eq!((log.chunks(), log.bytes(), log.lines()), (end.chunks, end.bytes, end.lines));
            prop_assert_eq!(log.last_chunk(), number);
            let some = at.index(usize::try_from(lines).unwrap() + 2) as u64;
            for line in [0, 1, 2, some, some + 1, lines, lines + 1, lines + 2] {
                prop_assert!(world.read_from(&log, line) == expected_from(&plain, line), "line {line}");
            }
            let bytes = plain.len();
            let place = at.index(bytes + 1);
            for (from, to) in [(0, bytes), (place, bytes), (0, place), (place / 2, place), (place, bytes + 9)]
            {
                let part = world.range(&log, from as u64..to as u64).unwrap();
                prop_assert!(part == plain[from..to.min(bytes)], "{from}..{to}");
            }
            let after = some.min(number);
            let rest: Vec<Chunk> = chunks.into_iter().filter(|chunk| chunk.number > after).collect();
            let read = world.chunks_after(&log, after);
            prop_assert_eq!(read.len(), rest.len());
            for (read, wrote) in read.iter().zip(&rest) {
                prop_assert_eq!(
                    (read.number, read.step, read.stream, read.time),
                    (wrote.number, wrote.step, wrote.stream, wrote.time)
                );
                prop_assert!(read.bytes == wrote.bytes && read.first_line >= 1);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn many_frames_read_back() {
    let world = World::new();
    // Text that hardly shrinks, so that the frames are spread over many of the blob's chunks.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut line = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}\n")
    };
    let chunks: Vec<Chunk> = (1..=200)
        .map(|number| chunk(number, (0..3_000).map(|_| line()).collect::<String>().into_bytes()))
        .collect();
    let plain: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
    let (blob, _, mut sealed) = world.store(&chunks);
    assert!(blob.chunks() > 8, "{}", blob.size);
    let log = world.open(&blob);
    let bytes = plain.len() as u64;
    for range in [0..1, 1_048_570..1_048_590, 5_000_000..5_000_001, bytes - 3..bytes, bytes..bytes + 1] {
        let (from, to) = (range.start.min(bytes) as usize, range.end.min(bytes) as usize);
        assert!(world.range(&log, range).unwrap() == plain[from..to], "{from}..{to}");
    }
    for line in [1, 2, 61_441, 300_000, 599_999, 600_000, 600_001] {
        assert!(world.read_from(&log, line) == expected_from(&plain, line), "line {line}");
    }
    assert_eq!(
        world.chunks_after(&log, 190).iter().map(|chunk| chunk.number).collect::<Vec<_>>(),
        (191..=200).collect::<Vec<_>>()
    );

    sealed[9] ^= 1;
    let blob = world.runtime.block_on(world.broker.put_blob(BlobKind::Log, &sealed)).unwrap();
    let log = world.open(&blob);
    // What stands before a part is not read.
    let last = world.range(&log, bytes - 3..bytes).unwrap();
    assert!(last == plain[plain.len() - 3..]);
    assert!(matches!(world.range(&log, 0..1), Err(SealedLogError::Damaged { .. })));
}

#[test]
fn bytes_that_are_no_sealed_log_are_refused() {
    let world = World::new();
    let (_, _, mut sealed) = world.store(&[chunk(1, b"one\ntwo\n".to_vec())]);
    let open = |bytes: &[u8]| {
        world.runtime.block_on(async {
            let blob = world.broker.put_blob(BlobKind::Log, bytes).await.unwrap();
            let log = SealedLog::open(&world.broker, &blob).await?;
            log.from_line(1).try_collect::<Vec<_>>().await
        })
    };
    assert!(matches!(open(b""), Err(SealedLogError::Damaged { .. })));
    assert!(matches!(
        open(b"plain text, and long enough for a trailer"),
        Err(SealedLogError::Damaged { .. })
    ));
    assert!(matches!(open(&sealed[..sealed.len() - 1]), Err(SealedLogError::Damaged { .. })));
    sealed[9] ^= 1;
    assert!(
        matches!(open(&sealed), Err(SealedLogError::Damaged { .. })),
        "a frame knows whether it is whole"
    );
}
