//! What the golden files of a shape must show between them: every optional field set and absent, every tag.

use schemars::Schema;
use serde_json::Value;

/// Something that must stand at a place in some golden.
#[derive(Debug)]
enum Demand {
    /// The field is absent.
    Null,
    /// The field is set.
    Set,
    /// An enum's tag.
    Tag(Value),
}

/// Fails unless the values show all that the schema leaves open.
pub(crate) fn assert_covered(title: &str, schema: &Schema, values: &[&Value]) {
    let mut demands = Vec::new();
    collect(schema.as_value(), schema.as_value(), &[], &mut demands);
    for (path, demand) in demands {
        let met = values.iter().flat_map(|value| at(value, &path)).any(|value| match &demand {
            Demand::Null => value.is_null(),
            Demand::Set => !value.is_null(),
            Demand::Tag(tag) => value == tag,
        });
        assert!(met, "no golden of {title} has at {}: {demand:?}", path.join("/"));
    }
}

fn collect(schema: &Value, root: &Value, path: &[String], demands: &mut Vec<(Vec<String>, Demand)>) {
    if let Some(reference) = schema["$ref"].as_str() {
        collect(&root["$defs"][reference.trim_start_matches("#/$defs/")], root, path, demands);
    }
    if is_nullable(schema) {
        demands.push((path.to_vec(), Demand::Null));
        demands.push((path.to_vec(), Demand::Set));
    }
    for variant in ["anyOf", "oneOf"].iter().filter_map(|key| schema[key].as_array()).flatten() {
        collect(variant, root, path, demands);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = [path, std::slice::from_ref(name)].concat();
        // A property with one value is the tag of an enum.
        if !property["const"].is_null() {
            demands.push((path.clone(), Demand::Tag(property["const"].clone())));
        }
        collect(property, root, &path, demands);
    }
    if schema["items"].is_object() {
        collect(&schema["items"], root, &[path, &["*".to_owned()]].concat(), demands);
    }
}

fn is_nullable(schema: &Value) -> bool {
    let has_null = |values: &Value| values.as_array().is_some_and(|types| types.contains(&"null".into()));
    let variants = schema["anyOf"].as_array().into_iter().flatten();
    has_null(&schema["type"]) || variants.into_iter().any(|variant| variant["type"] == "null")
}

/// The values at a path; `*` stands for every item of a list.
fn at<'a>(value: &'a Value, path: &[String]) -> Vec<&'a Value> {
    match path.split_first() {
        None => vec![value],
        Some((step, rest)) if step == "*" => {
            value.as_array().into_iter().flatten().flat_map(|item| at(item, rest)).collect()
        }
        Some((step, rest)) => value.get(step).into_iter().flat_map(|field| at(field, rest)).collect(),
    }
}
