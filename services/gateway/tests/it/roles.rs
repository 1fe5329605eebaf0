//! Every operation as every role, through the server, against the page that is made from the rules.

use std::collections::BTreeMap;

use events::id::TokenId;
use events::{Aggregate, Event};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::access::{create_user, token_for};
use crate::clients::Events;
use crate::runners::registered;
use crate::world::{World, runner, showing};

const PAGE: &str = include_str!("../../../../docs/access.md");

/// What is known of the schema: the fields of the roots and the input types, by name.
struct Schema(BTreeMap<String, Value>);

const INTROSPECTION: &str = "{ __schema { types { name kind enumValues { name }
    fields { name type { ...T } args { name defaultValue type { ...T } } }
    inputFields { name defaultValue type { ...T } } } } }
    fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

impl Schema {
    async fn of(world: &World) -> Self {
        let mut schema = world.data(INTROSPECTION, json!({})).await;
        let types = schema["__schema"]["types"].take();
        let types = types.as_array().unwrap().iter();
        Self(types.map(|one| (one["name"].as_str().unwrap().to_owned(), one.clone())).collect())
    }

    /// A request for a field that says as little as it may, and about somebody else.
    fn request(&self, root: &str, name: &str) -> String {
        let fields = self.0[root]["fields"].as_array().unwrap();
        let field = fields.iter().find(|field| field["name"] == name).unwrap();
        let arguments = self.values(&field["args"], &format!("{root}.{name}"));
        let arguments = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
        let keyword = root.to_lowercase();
        format!("{keyword} {{ {name}{arguments} {{ __typename }} }}")
    }

    fn values(&self, fields: &Value, of: &str) -> String {
        let mut values = Vec::new();
        for field in fields.as_array().unwrap() {
            let (name, kind) = (field["name"].as_str().unwrap(), &field["type"]);
            let required = kind["kind"] == "NON_NULL" && field["defaultValue"].is_null();
            let value = match name {
                "user" | "name" => "\"somebody-else\"".to_owned(),
                "id" if of == "RevokeTokenInput" => {
                    format!("\"{}\"", TokenId::derived(&["no such"]))
                }
                // Of what has happened something comes at once.
                "after" if of == "Subscription.events" => "0".to_owned(),
                _ if required => self.value(&kind["ofType"]),
                _ => continue,
            };
            values.push(format!("{name}: {value}"));
        }
        values.join(", ")
    }

    fn value(&self, kind: &Value) -> String {
        match (kind["kind"].as_str().unwrap(), kind["name"].as_str()) {
            ("LIST", _) => "[]".to_owned(),
            ("ENUM", Some(name)) => self.0[name]["enumValues"][0]["name"].as_str().unwrap().to_owned(),
            ("INPUT_OBJECT", Some(name)) => {
                format!("{{ {} }}", self.values(&self.0[name]["inputFields"], name))
            }
            (_, Some("Int" | "Sequence")) => "1".to_owned(),
            (_, Some("Boolean")) => "true".to_owned(),
            _ => "\"x\"".to_owned(),
        }
    }
}

/// Whether an operation is let through; it need not succeed.
async fn is_allowed(client: &Client, world: &World, schema: &Schema, operation: &str) -> bool {
    if let Some((root, field)) = operation.split_once('.') {
        let request = json!({ "query": schema.request(root, field) });
        if root == "Subscription" {
            let mut events = Events::of(client, &world.url, &request).await;
            let (kind, answer) = events.next().await.expect("something comes");
            assert_eq!(kind, "next");
            return is_let_through(&answer, operation);
        }
        let answer = client.post(format!("{}/graphql", world.url)).json(&request).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{operation}");
        return is_let_through(&answer.json().await.unwrap(), operation);
    }
    let (method, path) = operation.split_once(' ').unwrap();
    let path = path.replace(['{', '}'], "");
    let method: Method = method.parse().unwrap();
    let request = client.request(method, format!("{}{path}", world.url));
    let answer = request.json(&json!({ "query": "{ __typename }" })).send().await.unwrap();
    assert!(answer.status() != 401 && answer.status() != 405, "{operation}: {}", answer.status());
    answer.status() != 403
}

fn is_let_through(answer: &Value, operation: &str) -> bool {
    let code = &answer["errors"][0]["extensions"]["code"];
    let message = answer["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(code != "internal" && !message.contains("Unknown"), "{operation}: {answer}");
    code != "forbidden"
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_the_page_says_and_nothing_else() {
    let world = World::new().await;
    let schema = Schema::of(&world).await;
    let there = Aggregate::Runner(runner());
    world.append("scheduler", there, Event::Runner(registered().into())).await;
    let rows: Vec<Vec<&str>> = PAGE
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert!(rows.len() > 35, "{rows:?}");
    for (column, role) in ["viewer", "operator", "admin"].into_iter().enumerate() {
        create_user(&world, role, role, None).await;
        let client = showing(Some(&token_for(&world, role, role).await));
        for row in &rows {
            let [operation, cells @ ..] = row.as_slice() else { panic!("{row:?}") };
            // It was about somebody else.
            let expected = cells[column] == "yes";
            let allowed = is_allowed(&client, &world, &schema, operation).await;
            // No token makes others, whosever it is.
            let expected = expected && *operation != "Mutation.createToken";
            assert_eq!(allowed, expected, "{role}: {operation}");
        }
    }
    let nobody = showing(None);
    for row in &rows {
        let Some((method, path)) = row[0].split_once(' ') else { continue };
        let url = format!("{}{}", world.url, path.replace(['{', '}'], ""));
        let answer = nobody.request(method.parse().unwrap(), url).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{}", row[0]);
    }
    assert_eq!(nobody.get(format!("{}/healthz", world.url)).send().await.unwrap().status(), 200);
    world.end().await;
}
