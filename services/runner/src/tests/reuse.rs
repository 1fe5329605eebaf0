//! Reuse: a job begins after steps that ran before, or runs all of them where that cannot be.

use events::blob::{BlobKind, BlobRef, Sha256};
use events::id::{ExecutionId, JobId};
use events::image::ImagePin;
use events::log::Stream;
use events::report::What;
use events::step_cache::{Reuse, StepResult};
use events::ticket::Ticket;

use super::world::{IMAGE, World, stream};

const SCRIPTS: [&str; 3] = ["echo one >>file; echo said one", "echo two >>file", "echo three >>file"];

/// What a job came to, with what its steps printed.
struct Outcome {
    ran: Vec<u32>,
    reused: Option<u32>,
    patch: Option<BlobRef>,
    results: Vec<StepResult>,
    printed: String,
    told: String,
}

impl World {
    async fn outcome(&mut self, ticket: &Ticket) -> Outcome {
        let attempt = self.send(ticket).await;
        let end = self.end(&attempt).await;
        let What::Succeeded { patch, results, log, .. } = end else { panic!("{end:?}") };
        let chunks = self.log(&attempt, &log).await;
        let (mut ran, mut reused) = (Vec::new(), None);
        for report in self.heard(&attempt) {
            match report.what {
                What::StepStarted { step } => ran.push(step),
                What::Reused { step, .. } => reused = Some(step),
                _ => {}
            }
        }
        let (printed, told) = (stream(&chunks, Stream::Stdout), stream(&chunks, Stream::Runner));
        Outcome { ran, reused, patch, results, printed, told }
    }

    /// A ticket for the three scripts of which these need not run, it is said.
    fn after(&self, step: u32, result: BlobRef) -> Ticket {
        let (execution, job) = (ExecutionId::derived(&["earlier"]), JobId::derived(&["earlier"]));
        let reuse = Some(Reuse { step, result, execution, job, images: Vec::new() });
        Ticket { reuse, ..self.scripts(&SCRIPTS) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_steps_came_to_stands_for_them() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let whole = world.outcome(&world.scripts(&SCRIPTS)).await;
    assert_eq!((whole.ran.as_slice(), whole.reused), ([1, 2, 3].as_slice(), None));
    assert_eq!(whole.results.iter().map(|kept| kept.step).collect::<Vec<_>>(), [1, 2, 3]);

    for (kept, left) in whole.results.iter().zip([[2, 3].as_slice(), &[3], &[]]) {
        let ticket = world.after(kept.step, kept.result.clone());
        let outcome = world.outcome(&ticket).await;
        assert_eq!((outcome.ran.as_slice(), outcome.reused), (left, Some(kept.step)));
        assert_eq!(outcome.patch, whole.patch, "the same comes of it");
        assert_eq!(outcome.printed, "", "what ran is not shown as if it ran again");
        // What ran comes to the same, and what was taken is not told of as if it had run here.
        let of = |results: &[StepResult]| -> Vec<_> {
            results.iter().map(|kept| (kept.step, kept.result.clone())).collect()
        };
        assert_eq!(of(&outcome.results), of(&whole.results[kept.step as usize..]));
    }
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_steps_run_where_what_they_came_to_cannot_be_used() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let whole = world.outcome(&world.scripts(&SCRIPTS)).await;
    let first = whole.results[0].result.clone();
    let gone = BlobRef { kind: BlobKind::Result, sha256: Sha256::from_bytes(&[9; 32]), size: 7 };
    let form = |patch: &str| {
        let head = "{\"form\":1,\"diff_stat\":{\"files\":1,\"insertions\":1,\"deletions\":0},\"outputs\":{},\"stdout\":\"\",\"stderr\":\"\",\"cut\":[]}\n";
        zstd::encode_all(format!("{head}{patch}").as_bytes(), 1).unwrap()
    };
    let new_file = |path: &str| {
        format!(
            "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+evil\n"
        )
    };
    let link = "diff --git a/out b/out\nnew file mode 120000\n--- /dev/null\n+++ b/out\n@@ -0,0 +1 @@\n+/tmp\n\\ No newline at end of file\n";
    let mut unusable = vec![("was thrown away", gone)];
    for (why, bytes) in [
        ("its head", zstd::encode_all(&b"no JSON\n"[..], 1).unwrap()),
        ("changes", form("diff --git a/none b/none\n--- a/none\n+++ b/none\n@@ -1 +1 @@\n-x\n+y\n")),
        ("changes", form(&new_file("../escaped"))),
        ("changes", form(&new_file(".git/hooks/post-checkout"))),
        ("changes", form(&format!("{link}{}", new_file("out/escaped-by-a-link")))),
    ] {
        unusable.push((why, world.store_result(&bytes).await));
    }
    for (why, result) in unusable {
        let outcome = world.outcome(&world.after(1, result)).await;
        assert_eq!((outcome.ran.as_slice(), outcome.reused), ([1, 2, 3].as_slice(), None));
        assert_eq!(outcome.patch, whole.patch, "{why}");
        assert!(outcome.told.contains("all steps run") && outcome.told.contains(why), "{}", outcome.told);
    }
    assert!(!std::path::Path::new("/tmp/escaped-by-a-link").exists());

    // An image that is another by now.
    let mut ticket = world.after(1, first);
    let digest = "sha256:0000".to_owned();
    ticket.reuse.as_mut().unwrap().images = vec![ImagePin { reference: IMAGE.to_owned(), digest }];
    let outcome = world.outcome(&ticket).await;
    assert_eq!((outcome.ran.as_slice(), outcome.patch), ([1, 2, 3].as_slice(), whole.patch));
    assert!(outcome.told.contains("another image by now"), "{}", outcome.told);
    world.close(runner).await;
}
