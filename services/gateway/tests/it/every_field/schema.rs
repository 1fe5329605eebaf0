//! Asks for all that a type of the schema has, and keeps account of the fields that said something.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::clients::Events;
use crate::world::World;

/// A field of a type.
type Field = (String, String);

const INTROSPECTION: &str =
    "{ __schema { types { name kind fields { name type { ...T } args { name type { ...T } } } } } }
    fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// How deep an answer is looked into: below, all is asked for in another place.
const DEPTH: usize = 4;

/// How many nodes of each page are asked for.
const PAGE: usize = 4;

/// The schema as the gateway tells it, and the fields that have said something.
pub(super) struct Schema<'a> {
    world: &'a World,
    /// The types that have fields, by name.
    types: BTreeMap<String, Value>,
    seen: BTreeSet<Field>,
}

impl<'a> Schema<'a> {
    pub(super) async fn of(world: &'a World) -> Self {
        let told = world.data(INTROSPECTION, json!({})).await;
        let types = told["__schema"]["types"].as_array().unwrap().iter();
        let ours = types.filter(|one| one["fields"].is_array() && !text(one, "name").starts_with("__"));
        let types = ours.map(|one| (text(one, "name").to_owned(), one.clone())).collect();
        Self { world, types, seen: BTreeSet::new() }
    }

    /// Reads a field of the queries with all that is below it.
    pub(super) async fn query(&mut self, field: &str, arguments: &str) {
        let request =
            format!("{{ {field}{} {} }}", self.given("Query", field, arguments), self.all_of("Query", field));
        let mut answer = self.world.ask(&request, json!({})).await;
        assert_eq!(answer["errors"], Value::Null, "{field}: {answer:#}");
        let data = answer["data"].take();
        self.note("Query", &data);
    }

    /// Carries a mutation out, and reads all that is said of it.
    pub(super) async fn mutate(&mut self, field: &str, input: Value) -> Value {
        let kind = named(&self.field("Mutation", field)["args"][0]["type"]);
        let all = self.all_of("Mutation", field);
        let request = format!("mutation($input: {kind}!) {{ {field}(input: $input) {all} }}");
        let mut data = self.world.data(&request, json!({ "input": input })).await;
        self.note("Mutation", &data);
        data[field].take()
    }

    /// Follows a subscription up to an answer that is the last.
    pub(super) async fn follow(&mut self, field: &str, arguments: &str, is_last: impl Fn(&Value) -> bool) {
        let given = self.given("Subscription", field, arguments);
        let query = format!("subscription {{ {field}{given} {} }}", self.all_of("Subscription", field));
        let mut events = Events::of(self.world.client(), &self.world.url, &json!({ "query": query })).await;
        loop {
            let (kind, answer) = events.next().await.expect("an answer");
            assert_eq!((kind.as_str(), &answer["errors"]), ("next", &Value::Null), "{field}: {answer:#}");
            self.note("Subscription", &answer["data"]);
            if is_last(&answer["data"][field]) {
                return;
            }
        }
    }

    /// The fields that never said anything.
    pub(super) fn silent(&self) -> Vec<String> {
        let objects = self.types.values().filter(|one| one["kind"] == "OBJECT");
        let fields = objects.flat_map(|one| {
            let fields = one["fields"].as_array().unwrap().iter();
            fields.map(|field| (text(one, "name").to_owned(), text(field, "name").to_owned()))
        });
        fields.filter(|field| !self.seen.contains(field)).map(|(of, field)| format!("{of}.{field}")).collect()
    }

    /// Everything below a field of a root.
    fn all_of(&self, root: &str, field: &str) -> String {
        self.all(named(&self.field(root, field)["type"]), &mut Vec::new())
    }

    fn given(&self, root: &str, field: &str, arguments: &str) -> String {
        given(self.field(root, field), arguments)
    }

    fn field(&self, of: &str, name: &str) -> &Value {
        let fields = self.types[of]["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("{of} has no {name}"))
    }

    /// Every field of a type, and below it every type but those that lead here.
    fn all<'s>(&'s self, name: &'s str, above: &mut Vec<&'s str>) -> String {
        let Some(of) = self.types.get(name) else { return String::new() };
        if of["kind"] == "INTERFACE" {
            return "{ __typename id }".to_owned();
        }
        above.push(name);
        let mut all = String::from("{");
        for field in of["fields"].as_array().unwrap() {
            let kind = named(&field["type"]);
            if above.contains(&kind) || (above.len() >= DEPTH && self.types.contains_key(kind)) {
                continue;
            }
            all += &format!(" {}{} {}", text(field, "name"), given(field, ""), self.all(kind, above));
        }
        above.pop();
        all + " }"
    }

    /// Takes down which fields of an answer say something.
    fn note(&mut self, of: &str, answer: &Value) {
        match answer {
            Value::Array(entries) => entries.iter().for_each(|entry| self.note(of, entry)),
            Value::Object(fields) => self.note_fields(of, fields),
            _ => {}
        }
    }

    fn note_fields(&mut self, of: &str, fields: &Map<String, Value>) {
        let Some(known) = self.types.get(of).cloned() else { return };
        for field in known["fields"].as_array().unwrap() {
            let name = text(field, "name");
            let Some(value) = fields.get(name).filter(|value| says_something(value)) else { continue };
            self.seen.insert((of.to_owned(), name.to_owned()));
            self.note(named(&field["type"]), value);
        }
    }
}

/// The arguments of a field: these, and a small page where there are pages.
fn given(field: &Value, arguments: &str) -> String {
    let has_pages = field["args"].as_array().unwrap().iter().any(|argument| argument["name"] == "first");
    let page = has_pages.then(|| format!("first: {PAGE}"));
    let all: Vec<String> =
        page.into_iter().chain((!arguments.is_empty()).then(|| arguments.to_owned())).collect();
    if all.is_empty() { String::new() } else { format!("({})", all.join(", ")) }
}

/// An empty list says as little as nothing.
fn says_something(value: &Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|entries| !entries.is_empty())
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap()
}

/// The name of a type, of which there may be a list.
fn named(kind: &Value) -> &str {
    match kind["name"].as_str() {
        Some(name) => name,
        None => named(&kind["ofType"]),
    }
}
