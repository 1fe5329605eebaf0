//! The networks of the slots.

use super::*;

/// What tells one network from another.
const WHICH: &str = "readlink /proc/self/ns/net";

impl World {
    /// What a script says that runs as a job of this place.
    pub(super) async fn said_at(&self, place: Place, script: &str) -> Result<String, Trouble> {
        let (files, scratch) = (self.folder("files"), self.folder("scratch"));
        let image = busybox(&self.engine).await;
        let spec = ContainerSpec { place, ..self.spec(&image, &files, &scratch, one(script)) };
        let container = self.engine.create(&spec).await?;
        let heard = Heard::default();
        let code = container.run_main(&mut heard.clone()).await;
        container.remove().await.unwrap();
        assert_eq!(code?, 0);
        Ok(heard.text())
    }

    /// Which network a job of this slot has.
    async fn network_of(&self, slot: u32) -> Result<String, Trouble> {
        self.said_at(Place { slot, ..PLACE }, WHICH).await
    }
}

#[tokio::test]
async fn the_jobs_of_a_slot_have_one_network_and_those_of_another_have_another() {
    let world = World::new().await;
    let first = world.network_of(0).await.unwrap();
    assert_eq!(world.network_of(0).await.unwrap(), first);
    assert_ne!(world.network_of(1).await.unwrap(), first);
    assert_eq!(world.engine.remove_leftovers(|_| false).await.unwrap(), 0, "they are in use");
    let other = Place { slot: 0, reach: Reach::Egress };
    world.engine.open_networks().await.unwrap();
    assert_ne!(world.said_at(other, WHICH).await.unwrap(), first, "another reach is another network");
    world.engine.close().await.unwrap();
    assert_eq!(world.engine.remove_leftovers(|_| false).await.unwrap(), 0, "nothing is left");
}

#[tokio::test]
async fn a_network_that_went_away_costs_one_attempt_and_no_more() {
    let world = World::new().await;
    world.network_of(0).await.unwrap();
    let holder = world.engine.network(PLACE).await.unwrap();
    world.engine.docker().kill_container(&holder, None).await.unwrap();
    assert!(matches!(world.network_of(0).await, Err(Trouble::Engine(_))));
    world.network_of(0).await.unwrap();
    assert_eq!(world.engine.remove_leftovers(|_| false).await.unwrap(), 1, "what is left of the first");
}
