//! Previews: what an execution would find, without what it would leave behind.

use std::net::TcpListener;

use broker::Start;
use chrono::{TimeDelta, Utc};
use events::action::{Definition, Given};
use events::document::{Place, Preview, SkipReason};
use events::envelope::{Actor, NewEvent, Origin};
use events::id::{CommandId, PreviewId};
use events::preview::{End, Event as PreviewEvent, Requested, Resolved};
use events::ticket::Workspace;
use events::{Aggregate, Event, Timestamp, subject};
use uuid::Uuid;

use crate::http::Host;
use crate::repository::{Repository, git};
use crate::source;
use crate::world::{PATIENCE, World, text};

const EVERY_MODULE: &str = "name: tidy\ndescription: d\nworkspaces:\n  - rootAtLocationOf: go.mod\n    in: mono\nsteps:\n  - run: echo\n    container: alpine\n    \
     if: ${{ ne steps.path \"b\" }}\nchangesetTemplate:\n  title: t\n  body: b\n  branch: x\n  commit:\n    message: m\n";

impl World {
    /// Asks for a preview at a time.
    async fn ask(&self, time: Timestamp, source: &str, repositories: &[String]) -> PreviewId {
        let id = PreviewId::from_uuid(Uuid::now_v7());
        let definition = Definition {
            file_name: "tidy.batch.yaml".to_owned(),
            source: source.to_owned(),
            given: Given::default(),
            files: None,
        };
        let requested =
            Requested { action_name: "tidy".to_owned(), definition, repositories: repositories.to_vec() };
        let origin = Origin {
            command: CommandId::from_uuid(Uuid::now_v7()),
            actor: Actor::user("anna"),
            correlation: id.to_string(),
            causation: None,
            trace_parent: None,
        };
        let event = Event::Preview(requested.into());
        let event = NewEvent { aggregate: Aggregate::Preview(id), event, time, origin };
        self.gateway.append(&event, 0).await.unwrap();
        id
    }

    /// Waits for the end of a preview.
    async fn end_of(&self, id: PreviewId) -> End {
        let filter = subject::aggregate_filter(&Aggregate::Preview(id));
        let mut events = self.gateway.follow_events(&[filter], Start::After(0));
        let wait = async {
            loop {
                for message in events.next().await.unwrap().messages {
                    match message.event().unwrap().event {
                        Event::Preview(PreviewEvent::Resolved(resolved)) => return End::Resolved(resolved),
                        Event::Preview(PreviewEvent::Failed(failed)) => return End::Failed(failed),
                        _ => {}
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the preview has no end")
    }

    async fn preview(&self, source: &str, repositories: &[String]) -> (Resolved, Preview) {
        let id = self.ask(Utc::now(), source, repositories).await;
        let End::Resolved(resolved) = self.end_of(id).await else { panic!("{id} has no answer") };
        let found = self.gateway.get_document(&resolved.scope).await.unwrap();
        (resolved, found)
    }

    async fn names(&self, filter: &str) -> Vec<&'static str> {
        self.events(filter).await.iter().map(|recorded| recorded.event.name()).collect()
    }
}

fn place(workspace: &Workspace) -> Place {
    let Workspace { repository, url, base_ref, base_oid, path, source: _ } = workspace.clone();
    Place { repository, url, base_ref, base_oid, path }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_finds_what_an_execution_finds_and_says_nothing_of_repositories() {
    let world = World::new().await;
    let mono = Repository::new(&world.path("mono"));
    for module in ["a/go.mod", "b/go.mod", "c/go.mod"] {
        mono.commit(module, "module x");
    }
    let quiet = Repository::new(&world.path("quiet"));
    quiet.commit(".batchignore", "");
    let app = Repository::new(&world.path("app"));
    std::fs::create_dir(world.path("host")).unwrap();
    git(world.dir.path(), &["clone", "-q", "--bare", "app", "host/lib.git"]);
    let host = Host::serve(&world.path("host"));
    let repositories =
        [mono.text(), quiet.text(), app.text(), host.url("lib.git"), text(&world.path("gone"))];

    let (resolved, found) = world.preview(EVERY_MODULE, &repositories).await;
    assert_eq!((resolved.repositories, resolved.workspaces), (3, 4));
    assert_eq!((resolved.skipped, resolved.unreachable), (2, 1));
    assert_eq!(world.names("ev.repository.>").await, [""; 0], "a question is no news of a repository");
    let (again, same) = world.preview(EVERY_MODULE, &repositories).await;
    assert_eq!((&again, &same), (&resolved, &found));

    // What was looked at alone is packed once a job needs it.
    let (_, scope) = world.resolved(world.request_as(EVERY_MODULE, &repositories).await).await;
    assert_eq!(scope.workspaces.iter().map(place).collect::<Vec<_>>(), found.places);
    assert_eq!(scope.skipped, found.skipped);
    let reasons: Vec<_> = found.skipped.iter().map(|skipped| skipped.reason).collect();
    assert_eq!(reasons, [SkipReason::NoSteps, SkipReason::Ignored, SkipReason::Unreachable]);
    source::check(&world, &scope.workspaces[0], &mono).await;
    source::check(&world, &scope.workspaces[3], &app).await;
    let (_, after) = world.preview(EVERY_MODULE, &repositories).await;
    assert_eq!(after, found);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_packs_nothing() {
    let world = World::new().await;
    let damaged = Repository::new(&world.path("damaged"));
    let blob = damaged.oid("HEAD:README");
    std::fs::remove_file(damaged.path.join(".git/objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    // Whether all files are there is found out when they are packed.
    let (resolved, _) = world.preview("name: tidy\n", &[damaged.text()]).await;
    assert_eq!((resolved.workspaces, resolved.unreachable), (1, 0));
    assert_eq!(world.skip(&damaged.text()).await.0, SkipReason::Unreachable);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_that_was_cut_off_is_answered_once() {
    let mut world = World::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/app", silent.local_addr().unwrap());
    let id = world.ask(Utc::now(), "name: tidy\n", &[url]).await;
    silent.accept().unwrap();
    world.kill().await;
    drop(silent);
    world.start().await;
    let End::Resolved(resolved) = world.end_of(id).await else { panic!("{id} has no answer") };
    assert_eq!((resolved.workspaces, resolved.unreachable), (0, 1));

    world.stop().await;
    std::fs::remove_dir_all(world.catalog_dir()).unwrap();
    world.start().await;
    world.preview("name: tidy\n", &[text(&world.path("gone"))]).await;
    let filter = subject::aggregate_filter(&Aggregate::Preview(id));
    assert_eq!(world.names(&filter).await, ["requested", "resolved"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_that_nobody_waits_for_any_more_is_given_up() {
    let world = World::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/app", silent.local_addr().unwrap());
    let id = world.ask(Utc::now() - TimeDelta::minutes(11), "name: tidy\n", &[url]).await;
    let End::Failed(failed) = world.end_of(id).await else { panic!("{id} has an answer") };
    assert!(failed.message.contains("within 10 minutes") && failed.hint.contains("log"), "{failed:?}");
    world.end().await;
}
