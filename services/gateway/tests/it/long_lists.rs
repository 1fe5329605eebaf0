//! Lists that are as long as it comes: complete, in order and without repetition, with the length that they have.

use chrono::{DateTime, Duration, Utc};
use events::blob::{BlobKind, Sha256};
use events::enrollment::{Enrolled, TokenIssued};
use events::envelope::{Actor, NewEvent, Origin};
use events::execution::Resolved;
use events::id::{ActionId, CommandId, ExecutionId, PlanId, RepositoryId, SecretId, TokenId, UserId};
use events::secret::{self, Scope, Sealed};
use events::token::{self, TokenKind};
use events::user::{self, Role};
use events::{Aggregate, Event, plan, repository};
use serde_json::{Value, json};

use crate::lists::request;
use crate::runners::registered;
use crate::world::World;

/// Where a list is, and what of its nodes tells them apart.
struct List<'a> {
    /// What stands before it in a query, and what behind it.
    around: (&'a str, &'a str),
    /// Its field, with arguments if it takes others than those of pages: `secrets(actionId: "a")`.
    field: &'a str,
    node: &'a str,
}

/// A list at the top.
fn top<'a>(field: &'a str, node: &'a str) -> List<'a> {
    List { around: ("", ""), field, node }
}

impl List<'_> {
    /// Reads it to its end by so many at once: its nodes, and the length that every page tells.
    async fn read(&self, world: &World, first: usize) -> (Vec<String>, Value) {
        let Self { around: (before, behind), field, node } = self;
        let (name, arguments) = field.split_once('(').unwrap_or((field, ")"));
        let query = format!(
            "query($after: String) {{ {before} list: {name}(first: {first}, after: $after, {arguments} {{
                totalCount nodes {{ {node} }} pageInfo {{ hasNextPage endCursor }} }} {behind} }}"
        );
        let (mut nodes, mut totals, mut after) = (Vec::new(), Vec::new(), Value::Null);
        loop {
            let answer = world.data(&query, json!({ "after": after })).await;
            let parent = if answer["list"].is_null() { &answer["parent"] } else { &answer };
            let page = &parent["list"];
            let read = page["nodes"].as_array().unwrap_or_else(|| panic!("{query}: {answer:#}"));
            nodes.extend(read.iter().map(|one| one[node].as_str().unwrap().to_owned()));
            totals.push(page["totalCount"].clone());
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                assert!(read.len() <= first);
                break;
            }
            assert_eq!(read.len(), first, "a page that is not the last is full");
        }
        totals.dedup();
        assert_eq!(totals.len(), 1, "each page tells the same: {totals:?}");
        (nodes, totals.remove(0))
    }
}

/// The first event of something.
fn birth(aggregate: Aggregate, event: impl Into<Event>) -> NewEvent {
    let origin = Origin {
        command: CommandId::derived(&["birth", &aggregate.to_string()]),
        actor: Actor::user("local"),
        correlation: aggregate.to_string(),
        causation: None,
        trace_parent: None,
    };
    NewEvent { aggregate, event: event.into(), time: Utc::now(), origin }
}

/// Appends the first events of many things, and waits until they are shown.
async fn bear(world: &World, writer: &str, births: &[NewEvent]) {
    let broker = world.broker(writer).await;
    broker.append_births(births).await.unwrap();
    let at = broker.last_sequence().await.unwrap();
    world
        .data("query($at: Sequence!) { users(first: 1, atLeast: $at) { nodes { id } } }", json!({ "at": at }))
        .await;
}

/// So many names, whose order as text is that of their numbers.
fn names(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{prefix}-{number:04}")).collect()
}

/// An execution that left these out, and its plan without as many.
async fn execution_without(
    world: &World,
    name: &str,
    [skipped, missing, unchanged, imports]: [usize; 4],
) -> [String; 2] {
    let execution = ExecutionId::derived(&[name]);
    bear(world, "gateway", &[request(execution)]).await;
    let entries = |prefix: &str, count| -> Vec<Value> {
        let one = |repository| {
            json!({ "repository": repository, "reason": "empty", "message": "no commits",
            "external_id": "12", "job": null })
        };
        names(prefix, count).into_iter().map(one).collect()
    };
    let scope = json!({ "workspaces": [], "skipped": entries("skipped", skipped) });
    let scope = world.broker("catalog").await.put_document(BlobKind::Scope, &scope).await.unwrap();
    let count = |count: usize| u32::try_from(count).unwrap();
    let resolved = Resolved { scope, workspaces: 0, skipped: count(skipped) - 1, unreachable: 1 };
    world.append("catalog", Aggregate::Execution(execution), Event::Execution(resolved.into())).await;
    let content = json!({ "changeset_specs": [], "missing": entries("missing", missing),
        "unchanged": entries("unchanged", unchanged), "imports": entries("imports", imports) });
    let document = world.broker("campaign-plan").await.put_document(BlobKind::Plan, &content).await.unwrap();
    let created = plan::Created {
        execution,
        document,
        changesets: 0,
        missing: count(missing),
        unchanged: count(unchanged),
        imports: Some(count(imports)),
    };
    let id = PlanId::derived(&[name]);
    world.append("campaign-plan", Aggregate::Plan(id), Event::Plan(created.into())).await;
    [execution.to_string(), id.to_string()]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_execution_and_its_plan_leave_out_is_complete() {
    for world in World::on_both().await {
        let lengths = [1_203, 1_104, 1_005, 1_000];
        let [execution, plan] = execution_without(&world, "long", lengths).await;
        execution_without(&world, "other", [3, 3, 3, 3]).await;
        let [of_execution, of_plan] = [("execution", execution), ("plan", plan)]
            .map(|(kind, id)| format!("parent: {kind}(id: \"{id}\") {{"));
        for (field, length) in ["skipped", "missing", "unchanged", "imports"].into_iter().zip(lengths) {
            let before = if field == "skipped" { &of_execution } else { &of_plan };
            let list = List { around: (before, "}"), field, node: "repository" };
            let (found, total) = list.read(&world, 500).await;
            assert_eq!(found, names(field, length));
            assert_eq!(total, length, "{field}");
        }
        world.end().await;
    }
}

fn user(name: &str) -> NewEvent {
    let name: user::UserName = name.parse().unwrap();
    let created = user::Created { name: name.clone(), role: Role::Viewer, password: None, identity: None };
    birth(Aggregate::User(UserId::named(&name)), Event::User(created.into()))
}

/// A token whose id is known by its number.
fn token(user: &str, number: u8, expires_at: DateTime<Utc>) -> (TokenId, NewEvent) {
    let token_sha256 = Sha256::from_bytes(&[number; 32]);
    let id = TokenId::derived(&[token_sha256.as_str()]);
    let issued = token::Issued {
        user: user.parse().unwrap(),
        name: "ci".to_owned(),
        kind: TokenKind::Access,
        token_sha256,
        role: Role::Viewer,
        expires_at,
    };
    (id, birth(Aggregate::Token(id), Event::Token(issued.into())))
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_their_tokens_are_complete_without_those_that_are_worth_nothing() {
    for world in World::on_both().await {
        let mut people = names("user", 130);
        // Told in another order than they are listed.
        let births: Vec<NewEvent> = people.iter().rev().map(|name| user(name)).collect();
        bear(&world, "gateway", &births).await;
        let removed = people.remove(40);
        let (now, mut births) = (Utc::now(), Vec::new());
        let mut live: Vec<(i64, String, &str)> = Vec::new();
        for number in 0..200 {
            // Each fifth is another's, each seventh ended long ago; many end at once.
            let owner = ["user-0001", "user-0002"][usize::from(number % 5 == 0)];
            let days = if number % 7 == 0 { -1 } else { i64::from(1 + number % 3) };
            let (id, birth) = token(owner, number, now + Duration::days(days));
            births.push(birth);
            if days > 0 {
                live.push((days, id.to_string(), owner));
            }
        }
        births.push(token(&removed, 201, now + Duration::days(9)).1);
        bear(&world, "gateway", &births).await;
        live.sort();
        let (_, revoked, _) = live.remove(20);
        let remove = Event::User(user::Removed {}.into());
        world.append("gateway", Aggregate::User(UserId::named(&removed.parse().unwrap())), remove).await;
        let revoke = Event::Token(token::Revoked {}.into());
        world.append("gateway", Aggregate::Token(revoked.parse().unwrap()), revoke).await;

        assert_eq!(top("users", "name").read(&world, 50).await, (people, json!(129)));
        let ids = |of: &[&str]| -> Vec<String> {
            live.iter().filter(|(_, _, owner)| of.contains(owner)).map(|(_, id, _)| id.clone()).collect()
        };
        let everybodys = top("tokens", "id").read(&world, 30).await;
        assert_eq!(everybodys, (ids(&["user-0001", "user-0002"]), Value::Null));
        for owner in ["user-0001", "user-0002"] {
            let field = format!("tokens(user: \"{owner}\")");
            assert_eq!(top(&field, "id").read(&world, 30).await.0, ids(&[owner]));
        }
        for of_nobody in [removed.as_str(), "nobody"] {
            let field = format!("tokens(user: \"{of_nobody}\")");
            assert_eq!(top(&field, "id").read(&world, 30).await.0, Vec::<String>::new());
        }
        world.end().await;
    }
}

/// A secret and its first value.
fn secret(name: &str, scope: &Scope) -> NewEvent {
    let name: secret::SecretName = name.parse().unwrap();
    let [recipient, sender, sealed] = ["X1", "X2", "AAAA"].map(str::to_owned);
    let id = SecretId::of(scope, &name);
    let set = secret::Set { name, scope: *scope, version: 1, sealed: Sealed { recipient, sender, sealed } };
    birth(Aggregate::Secret(id), Event::Secret(set.into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secrets_of_an_action_are_its_own_and_those_of_every_action_in_one_order() {
    for world in World::on_both().await {
        let [own, others] = ["tidy", "other"].map(ActionId::named);
        let scopes = [Scope::Global, Scope::Action { action: own }, Scope::Action { action: others }];
        let all: Vec<(String, &Scope)> =
            (1..=120).map(|number| (format!("NAME_{number:04}"), &scopes[number % 3])).collect();
        let births: Vec<NewEvent> = all.iter().map(|(name, scope)| secret(name, scope)).collect();
        bear(&world, "gateway", &births).await;
        let deleted = SecretId::of(all[50].1, &all[50].0.parse().unwrap());
        let delete = Event::Secret(secret::Deleted {}.into());
        world.append("gateway", Aggregate::Secret(deleted), delete).await;
        let named = |has: &dyn Fn(&Scope) -> bool| -> Vec<String> {
            let left = all.iter().enumerate().filter(|(place, (_, scope))| *place != 50 && has(scope));
            left.map(|(_, (name, _))| name.clone()).collect()
        };
        assert_eq!(top("secrets", "name").read(&world, 25).await, (named(&|_| true), json!(119)));
        let field = format!("secrets(actionId: \"{own}\")");
        let expected = named(&|scope| *scope != scopes[2]);
        assert_eq!(top(&field, "name").read(&world, 25).await, (expected, Value::Null));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_and_repositories_are_complete() {
    for world in World::on_both().await {
        let known = names("runner", 90);
        let of = |name: &String| name.parse().unwrap();
        let token_sha256: Sha256 = "a".repeat(64).parse().unwrap();
        let expires_at = Utc::now() + Duration::days(1);
        let invited =
            TokenIssued { token_sha256: token_sha256.clone(), expires_at, pool: None, labels: None };
        let enrolled = Enrolled { token_sha256, public_key: "UA".to_owned() };
        // A third was invited alone, a third registered alone, a third is both.
        let (mut gateways, mut registrars, mut schedulers) = (Vec::new(), Vec::new(), Vec::new());
        for (number, name) in known.iter().enumerate() {
            let enrollment = Aggregate::Enrollment(of(name));
            match number % 3 {
                0 => gateways.push(birth(enrollment, Event::Enrollment(invited.clone().into()))),
                1 => registrars.push(birth(enrollment, Event::Enrollment(enrolled.clone().into()))),
                _ => {}
            }
            if number % 3 > 0 {
                schedulers.push(birth(Aggregate::Runner(of(name)), Event::Runner(registered().into())));
            }
        }
        bear(&world, "gateway", &gateways).await;
        bear(&world, "registrar", &registrars).await;
        bear(&world, "scheduler", &schedulers).await;
        let all = names("repository", 110);
        let births: Vec<NewEvent> = all
            .iter()
            .map(|name| {
                let registered = repository::Registered { name: name.clone(), url: format!("/{name}") };
                birth(
                    Aggregate::Repository(RepositoryId::derived(&[name])),
                    Event::Repository(registered.into()),
                )
            })
            .collect();
        bear(&world, "catalog", &births).await;

        assert_eq!(top("runners", "id").read(&world, 20).await, (known, json!(90)));
        assert_eq!(top("repositories", "name").read(&world, 25).await, (all, json!(110)));
        world.end().await;
    }
}
