//! Many repositories at once.

use std::time::{Duration, Instant};

use events::id::ExecutionId;

use crate::repository::{Repository, git};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn two_executions_over_the_same_repositories_agree() {
    let world = World::new().await;
    let texts: Vec<String> =
        (0..10).map(|number| Repository::new(&world.path(&format!("r/{number}"))).text()).collect();
    let ids: Vec<ExecutionId> = vec![world.request(&texts).await, world.request(&texts).await];
    let (_, first) = world.resolved(ids[0]).await;
    let (_, second) = world.resolved(ids[1]).await;
    assert_eq!(first, second);
    assert_eq!(first.workspaces.len(), 10);
    assert_eq!(world.events("ev.repository.>").await.len(), 20);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_local_repositories_take_seconds() {
    let world = World::new().await;
    let seed = Repository::new(&world.path("seed"));
    for number in 0..20 {
        seed.commit(&format!("src/{number}.txt"), &"line\n".repeat(200));
    }
    seed.git(&["gc", "-q"]);
    let texts: Vec<String> = (0..200)
        .map(|number| {
            let name = format!("fleet/{number}");
            git(world.dir.path(), &["clone", "-q", "--no-hardlinks", "seed", &name]);
            let copy = Repository { path: world.path(&name) };
            copy.commit("name", &name);
            copy.text()
        })
        .collect();
    for round in ["cold", "warm"] {
        let started = Instant::now();
        let scope = world.run(&texts).await;
        let took = started.elapsed();
        println!("200 local repositories, {round}: {took:?}");
        assert_eq!(scope.workspaces.len(), 200);
        assert!(took < Duration::from_secs(30), "{round}: {took:?}");
    }
    world.end().await;
}
