//! The rules of the house that a compiler does not check.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate may depend on, of ours.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    let service = vec!["events", "spec", "schedule", "archive", "broker"];
    let services = [
        "gateway",
        "catalog",
        "scheduler",
        "runner",
        "registrar",
        "log-collector",
        "campaign-plan",
        "projector",
    ];
    let mut rules = BTreeMap::from([
        ("events", vec![]),
        ("spec", vec!["events"]),
        ("schedule", vec![]),
        ("archive", vec!["events"]),
        ("broker", vec!["events"]),
    ]);
    rules.extend(services.map(|name| (name, service.clone())));
    rules.insert("cli", [service, services.to_vec()].concat());
    rules
}

#[test]
fn crates_depend_on_one_another_as_the_architecture_says() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    let rules = allowed();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(ours, rules.keys().copied().collect(), "every crate has a rule, and every rule a crate");
    for package in &metadata.packages {
        let edges =
            package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        for dependency in edges.filter(|dependency| ours.contains(dependency.name.as_str())) {
            assert!(
                rules[package.name.as_str()].contains(&dependency.name.as_str()),
                "{} must not depend on {}",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn only_the_broker_speaks_to_nats() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    let speakers: Vec<&str> = metadata
        .packages
        .iter()
        .filter(|package| {
            let mut edges = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
            edges.any(|dependency| dependency.name == "async-nats")
        })
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(speakers, ["broker"]);
}

#[test]
fn no_crate_is_a_drawer_and_none_carries_the_products_name() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    for package in &metadata.packages {
        for drawer in ["common", "util", "utils", "helpers", "core", "shared", "patchwave"] {
            assert!(!package.name.contains(drawer), "{}", package.name);
        }
    }
}
