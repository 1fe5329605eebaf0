//! Builds: what a Dockerfile runs has the limits and the network of its job.

use std::time::Duration;

use events::job::{FailureKind, LimitName};

use super::*;

/// A Dockerfile that nobody has built, which runs this.
fn dockerfile(run: &str) -> ImageSource {
    ImageSource::Dockerfile(format!("FROM sandbox-test:busybox\nRUN : {}; {run}\n", Uuid::now_v7()))
}

impl World {
    /// What a build says, which must work and whose image goes with the test.
    pub(super) async fn built(&self, grant: Grant<'_>, run: &str) -> Vec<String> {
        busybox(&self.engine).await;
        let mut said = Vec::new();
        let image = self.engine.image(&dockerfile(run), grant, &mut |line| said.push(line)).await.unwrap();
        forget(&self.engine, &image.id).await;
        said
    }

    /// The containers that use the network of a place.
    async fn in_network(&self, holder: &str) -> usize {
        let options = bollard::query_parameters::ListContainersOptionsBuilder::new().all(true).build();
        let all = self.engine.docker().list_containers(Some(options)).await.unwrap();
        let joins = Some(format!("container:{holder}"));
        all.iter().filter(|one| one.host_config.as_ref().unwrap().network_mode == joins).count()
    }
}

#[tokio::test]
async fn a_build_has_the_limits_of_its_job() {
    let world = World::new().await;
    let limits = Limits { memory_bytes: 3 << 30, cpu_millis: Some(1500), ..LIMITS };
    let grant = Grant { place: PLACE, limits: &limits, logins: &[] };
    let script = "for group in memory/memory.limit_in_bytes memory.max; do cat /sys/fs/cgroup/$group; done
        for group in cpu/cpu.cfs_quota_us cpu.max; do cut -d ' ' -f 1 /sys/fs/cgroup/$group; done
        ulimit -n; ulimit -c";
    let said = world.built(grant, &format!("({script}) 2>/dev/null").replace('\n', ";")).await;
    let said: Vec<&str> = said.iter().map(|line| line.trim()).collect();
    let wanted = ["3221225472", "150000", "16384", "0"];
    assert!(said.windows(wanted.len()).any(|lines| lines == wanted), "{said:?}");
}

#[tokio::test]
async fn a_build_that_runs_out_of_memory_is_called_that_and_no_other_failure_is() {
    let world = World::new().await;
    busybox(&world.engine).await;
    let limits = Limits { memory_bytes: 32 << 20, ..LIMITS };
    let grant = Grant { place: PLACE, limits: &limits, logins: &[] };
    for (run, is_memory) in [
        ("tail /dev/zero", true),
        ("(tail /dev/zero) || exit 3", true),
        ("sleep 60 & kill -9 $!; wait $!", false),
        ("exit 3", false),
    ] {
        let failure = failure(world.engine.image(&dockerfile(run), grant, &mut |_| ()).await);
        let kind = if is_memory { FailureKind::OutOfMemory } else { FailureKind::Image };
        assert_eq!(failure.kind, kind, "{run}: {failure:?}");
        assert_eq!(failure.limit.is_some_and(|limit| limit.name == LimitName::Memory), is_memory);
        assert!(failure.message.starts_with("the Dockerfile cannot be built: "), "{failure:?}");
    }
    // Who has more may build what another could not.
    let source = dockerfile("dd if=/dev/zero of=/dev/null bs=50M count=1");
    let short = failure(world.engine.image(&source, grant, &mut |_| ()).await);
    assert_eq!(short.kind, FailureKind::OutOfMemory, "{short:?}");
    let image = world.engine.image(&source, GRANT, &mut |_| ()).await.unwrap();
    forget(&world.engine, &image.id).await;
}

#[tokio::test]
async fn a_build_that_is_cut_off_ends_and_nobody_meets_it() {
    let world = World::new().await;
    busybox(&world.engine).await;
    let holder = world.engine.network(PLACE).await.unwrap();
    let source = dockerfile("echo begun; sleep 600");
    let (begun, is_begun) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let mut note = |line: String| {
        if line == "begun" {
            begun.take().unwrap().send(()).unwrap();
        }
    };
    tokio::select! {
        found = world.engine.image(&source, GRANT, &mut note) => panic!("{found:?}"),
        told = is_begun => told.unwrap(),
    }
    assert_ne!(world.engine.network(PLACE).await.unwrap(), holder, "whoever comes next has another network");
    let ended = async { while world.in_network(&holder).await > 0 {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    assert_eq!(world.engine.remove_leftovers(|_| false).await.unwrap(), 1, "the network's holder");
}

/// A Dockerfile of several lines that nobody has built.
fn lines(from: &str, lines: &[&str]) -> ImageSource {
    let nonce = Uuid::now_v7();
    ImageSource::Dockerfile(format!("FROM {from}\nENV NONCE={nonce}\n{}\n", lines.join("\n")))
}

impl World {
    /// The failure of a build that becomes too large, of which the engine keeps no image.
    async fn outgrown(&self, source: &ImageSource, grant: Grant<'_>) -> events::job::Failure {
        let failure = failure(self.engine.image(source, grant, &mut |_| ()).await);
        assert_eq!(failure.kind, FailureKind::Limit, "{failure:?}");
        assert_eq!(failure.limit.as_ref().unwrap().name, LimitName::ImageBytes);
        let ImageSource::Dockerfile(text) = source else { panic!("{source:?}") };
        assert!(!self.engine.has_built(text).await.unwrap());
        failure
    }
}

#[tokio::test]
async fn a_build_that_makes_too_large_an_image_fails_and_leaves_none() {
    let world = World::new().await;
    busybox(&world.engine).await;
    let limits = Limits { image_bytes: 8 << 20, ..LIMITS };
    let grant = Grant { place: PLACE, limits: &limits, logins: &[] };
    let from = "sandbox-test:busybox";
    let third = "RUN head -c 3000000 /dev/zero >/file-";
    let thirds = [1, 2, 3].map(|number| format!("{third}{number}"));
    let thirds: Vec<&str> = thirds.iter().map(String::as_str).collect();
    // Several lines count together, each of them too short to be seen.
    let failure = world.outgrown(&lines(from, &thirds), grant).await;
    assert!(failure.message.contains("the image may have 8 MiB more than"), "{failure:?}");
    // What is removed by a later line is in the image all the same, and what is in the one it begins with is not counted.
    world.outgrown(&lines(from, &["RUN head -c 9000000 /dev/zero >/big", "RUN rm /big"]), grant).await;
    let small = Limits { image_bytes: 7 << 20, ..LIMITS };
    let small = Grant { place: PLACE, limits: &small, logins: &[] };
    let base = world.engine.image(&lines(from, &thirds[..2]), small, &mut |_| ()).await.unwrap();
    // Whoever begins with an image that was built here has that counted too: by and by is no way out.
    let name = &world.engine.docker().inspect_image(&base.id).await.unwrap().repo_tags.unwrap()[0];
    world.outgrown(&lines(name, &thirds[2..]), grant).await;
    // Who may write more builds what another could not.
    let image = world.engine.image(&lines(name, &thirds[2..]), GRANT, &mut |_| ()).await.unwrap();
    forget(&world.engine, &image.id).await;
    forget(&world.engine, &base.id).await;
}

#[tokio::test]
async fn a_build_is_stopped_while_it_grows() {
    let world = World::new().await;
    busybox(&world.engine).await;
    let limits = Limits { image_bytes: 8 << 20, ..LIMITS };
    let grant = Grant { place: PLACE, limits: &limits, logins: &[] };
    let holder = world.engine.network(PLACE).await.unwrap();
    // What it prints of containers is not believed. Without an end by force it would go on for ever.
    let grow = "echo ' ---> Running in 0123456789ab'; i=0; while :; do i=$((i+1)); \
                head -c 1000000 /dev/zero >/file-$((i%20)); sleep 0.05; done";
    world.outgrown(&dockerfile(grow), grant).await;
    let ended = async { while world.in_network(&holder).await > 0 {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    assert_ne!(world.engine.network(PLACE).await.unwrap(), holder, "whoever comes next has another network");
}
