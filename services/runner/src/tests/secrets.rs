//! Secrets on the real engine: where a value is, and where it is not.

use std::path::Path;

use broker::sealing::{KeyPair, Plain, seal};
use events::blob::BlobKind;
use events::job::FailureKind;
use events::log::Stream;
use events::report::What;
use events::secret::{Scope, SecretName, SecretVersion};
use events::ticket::{Ticket, TicketSecret};

use super::world::{IMAGE, World, soon, stream};

/// A value that encoders change.
const VALUE: &str = "pa\u{df}/\"hunter\"+22 ~";

/// What common tools make of it, written down and not computed: nothing of ours helps to find it.
const FORMS: [&str; 8] = [
    VALUE,
    "cGHDny8iaHVudGVyIisyMiB+",
    "cGHDny8iaHVudGVyIisyMiB-",
    "Bhw58vImh1bnRlciIrMjIgf",
    "7061c39f2f2268756e746572222b3232207e",
    "7061C39F2F2268756E746572222B3232207E",
    "pa%C3%9F%2F%22hunter%22%2B22%20~",
    "pa\u{df}/\\\"hunter\\\"+22 ~",
];

fn holds(bytes: &[u8]) -> bool {
    FORMS.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
}

/// The files below a folder that hold the value in any form.
fn files_with_it(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            waiting.extend(entries.map(|entry| entry.path()));
        } else if meta.is_file() && std::fs::read(&path).is_ok_and(|bytes| holds(&bytes)) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn sealed_to(public_key: &str, ticket: &Ticket, name: &str) -> TicketSecret {
    let name: SecretName = name.parse().unwrap();
    let sealed = seal(&Plain::new(VALUE.to_owned()), &ticket.secret_purpose(&name), public_key).unwrap();
    TicketSecret { secret: SecretVersion { name, scope: Scope::Global, version: 1 }, sealed: Some(sealed) }
}

/// The key that the runner says in its heartbeats.
pub(super) async fn sealing_key(world: &World) -> String {
    let mut beats = world.scheduler.follow_runner_beats();
    soon("a heartbeat", async {
        loop {
            if let Some(key) = beats.next().await.unwrap().1.sealing_key {
                return key;
            }
        }
    })
    .await
}

async fn docker(arguments: &[&str]) -> String {
    let output = tokio::process::Command::new("docker").args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one container of the runner's that runs, as the engine describes it.
async fn inspected(world: &World) -> serde_json::Value {
    let dir = world.fixture.dir.path().join("runner").canonicalize().unwrap();
    let home = format!("label=patchwave.home={}", dir.display());
    let id = docker(&["ps", "-q", "--filter", &home, "--filter", "label=patchwave.attempt"]).await;
    serde_json::from_str::<serde_json::Value>(&docker(&["inspect", id.trim()]).await).unwrap()[0].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_in_the_containers_own_environment_and_nowhere_else() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let print = "printf %s \"$TOKEN\"; echo; printf %s \"$TOKEN\" | base64; printf 1%s \"$TOKEN\" | base64";
    let hex = "printf %s \"$TOKEN\" | od -An -v -tx1 | tr -d ' \\n'; echo";
    let mut ticket = world.ticket(&format!(
        r#"- container: {IMAGE}
  run: |
    {print}
    {hex}
    printf %s "$TOKEN" >&2
    env | cut -d= -f1
    echo printed
    until [ -e go ]; do sleep 0.05; done
    rm go
  env: [TOKEN]
- container: {IMAGE}
  run: |
    printf '%s\n' '${{{{ previous_step.stdout }}}}' >/dev/null
    echo "second: ${{{{ previous_step.stderr }}}} ${{TOKEN-no token}}"
    until [ -e go ]; do sleep 0.05; done
    rm go
"#
    ));
    let sealed = sealed_to(&sealing_key(&world).await, &ticket, "TOKEN");
    ticket.secrets.push(sealed);
    let attempt = world.send(&ticket).await;
    let folder = world.fixture.dir.path().join("runner");
    let go = folder
        .canonicalize()
        .unwrap()
        .join(format!("attempts/{}.1/workspace/merged/go", attempt.job.token()));

    until_logged(&world, &attempt, "printed").await;
    let mut container = inspected(&world).await;
    let env = container["Config"]["Env"].take();
    let env: Vec<&str> = env.as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect();
    assert!(env.contains(&format!("TOKEN={VALUE}").as_str()), "{env:?}");
    // The engine's JSON would show the value with its quotes escaped, which is one of the forms.
    assert!(!holds(container.to_string().as_bytes()), "beside its environment: {container:#}");
    assert!(!holds(container["Args"].to_string().as_bytes()));
    assert_eq!(files_with_it(&folder), Vec::<String>::new(), "while the first step runs");
    std::fs::write(&go, "").unwrap();
    until_logged(&world, &attempt, "second:").await;
    assert!(!holds(inspected(&world).await.to_string().as_bytes()), "the second step lists none");
    assert_eq!(files_with_it(&folder), Vec::<String>::new(), "while the second step runs");
    std::fs::write(&go, "").unwrap();

    let What::Succeeded { log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt))
    };
    let chunks = world.log(&attempt, &log).await;
    let shown = stream(&chunks, Stream::Stdout);
    assert!(!holds(shown.as_bytes()), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!((lines[0], lines[1], lines[3]), ("***", "***", "***"), "{shown}");
    assert!(lines[2].contains("***"), "{shown}");
    assert!(lines.contains(&"TOKEN") && !shown.contains("CARGO"), "the runner's own variables: {shown}");
    assert!(lines.contains(&"second: *** no token"), "{shown}");
    assert_eq!(stream(&chunks, Stream::Stderr), "***");
    world.clean().await;
    let broker = world.fixture.dir.path().join("broker");
    assert_eq!(files_with_it(&folder), Vec::<String>::new());
    assert_eq!(files_with_it(&broker), Vec::<String>::new());

    // The search finds what is there: in a file of the runner's, and in a message of the broker's.
    std::fs::write(folder.join("planted"), format!("x{}x", FORMS[4])).unwrap();
    assert_eq!(files_with_it(&folder).len(), 1);
    world.store(BlobKind::Source, format!("-{}-", FORMS[1]).as_bytes()).await;
    assert!(!files_with_it(&broker).is_empty());
    world.close(runner).await;
}

/// Waits until a line with this text is stored.
pub(super) async fn until_logged(world: &World, attempt: &events::beat::Running, text: &str) {
    let mut follower = world.reader.follow_log(attempt, 0);
    let mut seen = Vec::new();
    soon(text, async {
        while !String::from_utf8_lossy(&seen).contains(text) {
            let batch = follower.next().await.unwrap();
            seen.extend(batch.chunks.into_iter().flat_map(|chunk| chunk.bytes));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_have_or_would_give_away_a_secret_fails() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let key = sealing_key(&world).await;
    let step = |run: &str| format!("- container: {IMAGE}\n  run: {run}\n  env: [TOKEN]\n");

    let attempt = world.send(&world.ticket(&step("echo ran"))).await;
    let What::Failed { failure, log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt))
    };
    assert_eq!((failure.kind, failure.step), (FailureKind::Secret, Some(1)));
    assert!(failure.message.contains("`TOKEN`, which is not set"), "{failure:?}");
    let said = world.log(&attempt, &log).await;
    assert!(!stream(&said, Stream::Stdout).contains("ran"), "nothing ran");

    let mut ticket = world.ticket(&step(
        "printf %s \"$TOKEN\" >leak; printf %s \"$TOKEN\" >\"$(printf %s \"$TOKEN\" | base64)\"",
    ));
    let sealed = sealed_to(&key, &ticket, "TOKEN");
    ticket.secrets.push(sealed);
    let attempt = world.send(&ticket).await;
    let What::Failed { failure, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt))
    };
    assert_eq!(failure.kind, FailureKind::Secret);
    assert!(failure.message.contains("`TOKEN`") && !holds(failure.message.as_bytes()), "{failure:?}");

    let mut ticket = world.ticket(&step("echo ran"));
    let sealed = sealed_to(&KeyPair::generate().public_key(), &ticket, "TOKEN");
    ticket.secrets.push(sealed);
    let attempt = world.send(&ticket).await;
    let What::Abandoned { reason, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt))
    };
    assert!(reason.contains("an earlier start of the runner"), "{reason}");
    world.clean().await;
    world.close(runner).await;
}
