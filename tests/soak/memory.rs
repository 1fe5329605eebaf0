//! Memory: what each process holds over time, and whether that grows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::world::{Role, World, resident_kib};

/// How often each process is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// By how much a process may grow between the second quarter of the time and the last: caches fill, and allocators keep
/// what was freed.
const GROWTH_KIB: u64 = 8 * 1024;
const GROWTH_PERCENT: u64 = 15;

/// Fewer samples say nothing about a slope.
const ENOUGH: usize = 40;

/// The resident memory of each process, sample by sample, in KiB.
#[derive(Default)]
pub(super) struct Memory {
    samples: BTreeMap<String, Vec<u64>>,
    last: Option<Instant>,
}

impl Memory {
    /// Takes a sample of each process if it is time. Runners that are killed begin anew and say nothing.
    pub(super) fn sample(&mut self, world: &World) {
        if self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        for process in world.processes() {
            if process.role == Role::Runner && process.name != super::RUNNERS[0] {
                continue;
            }
            if let Some(kib) = process.resident_kib() {
                self.samples.entry(process.name.clone()).or_default().push(kib);
            }
            if let (Role::Broker, Some(kib)) = (process.role, process.nats_server().and_then(resident_kib)) {
                self.samples.entry("nats-server".to_owned()).or_default().push(kib);
            }
        }
    }

    /// The newest samples, in MiB.
    pub(super) fn last(&self) -> String {
        let last = self.samples.iter().filter_map(|(name, samples)| Some((name, samples.last()?)));
        let last: Vec<String> = last.map(|(name, kib)| format!("{name} {}", kib / 1024)).collect();
        format!("MiB: {}", last.join(", "))
    }

    /// Fails if a process has grown, all the others said beside it.
    pub(super) fn assert_flat(&self) {
        let mut grown = Vec::new();
        for (name, samples) in &self.samples {
            let quarter = samples.len() / 4;
            if samples.len() < ENOUGH {
                eprintln!("{name}: {} samples are too few for a slope", samples.len());
                continue;
            }
            let (early, late) = (median(&samples[quarter..2 * quarter]), median(&samples[3 * quarter..]));
            eprintln!("{name}: {early} KiB early, {late} KiB late");
            if late > early + GROWTH_KIB.max(early * GROWTH_PERCENT / 100) + self.by_design(name, early) {
                grown.push(format!("{name} from {early} to {late} KiB"));
            }
        }
        assert!(grown.is_empty(), "memory grows: {}", grown.join(", "));
    }

    /// nats-server keeps an entry for each subject, of which each job makes about ten, and its collector lets the heap grow.
    fn by_design(&self, name: &str, early: u64) -> u64 {
        if name == "nats-server" { early / 2 } else { 0 }
    }
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
