//! What nobody can read.

use crate::repository::Repository;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_is_set_aside_as_often_as_it_is_tried_and_others_go_on() {
    let world = World::new().await;
    world.append_nonsense().await;
    let app = Repository::new(&world.path("app"));
    world.run(&[app.text()]).await;
    let letter = world.letter_after(0).await;
    assert_eq!((letter.consumer.as_str(), letter.payload.as_ref()), ("catalog", &b"nonsense"[..]));
    // The letter is so young that its repetition could be taken for itself.
    let operator = world.operator().await;
    operator.retry_dead(letter.id).await.unwrap();
    let again = world.letter_after(letter.id).await;
    assert_eq!((again.sequence, again.reason), (letter.sequence, letter.reason));
    world.run(&[app.text()]).await;
    world.end_with_letters(1).await;
}
