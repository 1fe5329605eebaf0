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
    let grant = Grant { place: PLACE, limits: &limits };
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
    let grant = Grant { place: PLACE, limits: &limits };
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
