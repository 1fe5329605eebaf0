//! Memory: what the whole stack holds while nothing happens, without the Docker Engine.

use crate::figure::Figure;
use crate::world::{Role, World};

/// What the whole stack may hold, in MiB.
const LIMIT: f64 = 120.0;

/// The proportional set size of `patchwave up` and its nats-server, after some work and with nothing left to do.
pub(crate) fn idle() -> Vec<Figure> {
    let mut world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    world.run_script("echo 2 >a", &[&repository]).expect(0);
    let up = world.process(Role::Up);
    let ids = [up.id(), up.nats_server().expect("nats-server runs")];
    let total: f64 = ids.into_iter().map(proportional_mebibytes).sum();
    world.end();
    vec![Figure::within("idle_memory_mib", "MiB", total, LIMIT)]
}

/// Shared pages count by the share of the process.
fn proportional_mebibytes(id: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).expect("the process runs");
    let line = text.lines().find(|line| line.starts_with("Pss:")).expect("the kernel says Pss");
    line.split_whitespace().nth(1).and_then(|kibibytes| kibibytes.parse::<f64>().ok()).expect("a number")
        / 1024.0
}
