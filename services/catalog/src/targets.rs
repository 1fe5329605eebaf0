//! Targets: from what is to be run over to repositories and branches, each repository once.
//!
//! Owns the reading of names and addresses. Looks at no repository; only paths on this machine are made real, so that two
//! ways to one folder are one repository.

use events::document::{SkipReason, Skipped};
use events::location::{Location, without_credentials};
use spec::{Definition, Scope};

use crate::local;
use crate::names;

/// What is to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) definition: events::action::Definition,
    /// Clone URLs or absolute paths; empty: what the definition's `on` says.
    pub(crate) repositories: Vec<String>,
}

/// A repository to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) location: Location,
    /// What users see; no other target has it.
    pub(crate) name: String,
    /// Branches as they were written; empty: the default branch.
    pub(crate) branches: Vec<String>,
}

/// Everything that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    pub(crate) targets: Vec<Target>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Reads the definition, or says why nothing of it can be run.
pub(crate) fn definition(request: &Request) -> Result<Definition, Skipped> {
    // The gateway read it before; another version of it may have been more lenient.
    spec::parse(&spec::Source::from(&request.definition)).map(|parsed| parsed.definition).map_err(|_| {
        let message =
            "The action's definition cannot be read any more. Apply it again: that lists its errors.";
        skipped(&request.definition.file_name, message.to_owned())
    })
}

/// Reads what was asked for. `named` gives the addresses of the repositories that go by a name.
pub(crate) fn targets(
    request: &Request,
    definition: &Definition,
    named: impl Fn(&str) -> Vec<String>,
) -> Targets {
    if !request.repositories.is_empty() {
        let asked = request.repositories.iter().map(|text| Asked {
            shown: text,
            location: read(text),
            branches: Vec::new(),
        });
        return collect(asked);
    }
    from_scopes(&definition.on, named)
}

fn from_scopes(on: &[Scope], named: impl Fn(&str) -> Vec<String>) -> Targets {
    collect(on.iter().map(|scope| {
        match scope {
            Scope::Repository { name, branches } => {
                Asked { shown: name, location: read_name(name, &named), branches: branches.clone() }
            }
            Scope::Query { query } => Asked {
                shown: query,
                location: Err(
                    "Searches are not supported yet. Name the repositories under `on`, or with --repo."
                        .to_owned(),
                ),
                branches: Vec::new(),
            },
        }
    }))
}

/// One repository as it was asked for.
struct Asked<'a> {
    shown: &'a str,
    location: Result<Location, String>,
    branches: Vec<String>,
}

fn collect<'a>(asked: impl Iterator<Item = Asked<'a>>) -> Targets {
    let mut found: Vec<(Location, Vec<String>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    let mut skips = Vec::new();
    for Asked { shown, location, branches } in asked {
        match location {
            Ok(location) => match places.get(&same(&location)) {
                // A later entry replaces an earlier one.
                Some(place) => {
                    if let Some((_, earlier)) = found.get_mut(*place) {
                        *earlier = branches;
                    }
                }
                None => {
                    places.insert(same(&location), found.len());
                    found.push((location, branches));
                }
            },
            Err(message) => skips.push(skipped(&without_credentials(shown), message)),
        }
    }
    let locations: Vec<Location> = found.iter().map(|(location, _)| location.clone()).collect();
    let names = names::distinct(&locations);
    let targets = found.into_iter().zip(names);
    let targets = targets.map(|((location, branches), name)| Target { location, name, branches }).collect();
    Targets { targets, skipped: skips }
}

/// What two addresses of one repository have in common: `.git` at the end makes no other repository of it.
fn same(location: &Location) -> (&'static str, String, String) {
    match location {
        Location::Local(path) => ("", String::new(), path.clone()),
        Location::Remote(remote) => (remote.scheme, remote.host.clone(), remote.path.clone()),
    }
}

fn skipped(repository: &str, message: String) -> Skipped {
    Skipped { repository: repository.to_owned(), reason: SkipReason::Unreachable, message }
}

fn read(text: &str) -> Result<Location, String> {
    match Location::parse(text) {
        Ok(Location::Local(path)) => Ok(Location::Local(local::canonical(&path))),
        Ok(remote) => Ok(remote),
        Err(rejection) => Err(format!("{}. {}", rejection.message, rejection.hint)),
    }
}

/// Reads an address, a name that was registered before, or `host/path`.
fn read_name(name: &str, named: impl Fn(&str) -> Vec<String>) -> Result<Location, String> {
    let refused = match read(name) {
        Ok(location) => return Ok(location),
        Err(refused) => refused,
    };
    match named(name).as_slice() {
        [url] => return read(url),
        [] => {}
        several => {
            return Err(format!(
                "The name `{name}` belongs to several repositories. Write one of: {}",
                several.join(", ")
            ));
        }
    }
    // A host has a dot or a port, unless it is this one.
    let is_host = |host: &str| host.contains(['.', ':']) && !host.starts_with('.') || host == "localhost";
    match name.split_once('/') {
        Some((host, path)) if is_host(host) && !path.is_empty() => read(&format!("https://{name}")),
        _ => Err(refused),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn repository(name: &str, branches: &[&str]) -> Scope {
        let branches = branches.iter().map(|branch| (*branch).to_owned()).collect();
        Scope::Repository { name: name.to_owned(), branches }
    }

    fn registered(name: &str) -> Vec<String> {
        let all = [
            ("app", "/gone/app"),
            ("lib", "/gone/x/lib"),
            ("lib", "/gone/y/lib"),
            ("h.example/a", "git@h.example:a"),
        ];
        all.iter().filter(|(known, _)| *known == name).map(|(_, url)| (*url).to_owned()).collect()
    }

    fn shown(targets: &Targets) -> Vec<String> {
        let shown =
            |target: &Target| format!("{} {} {:?}", target.name, target.location.url(), target.branches);
        targets.targets.iter().map(shown).collect()
    }

    #[test]
    fn names_are_addresses_known_names_or_hosts_with_paths() {
        let on = [
            repository("/gone/one", &["main", "next"]),
            repository("https://example.org/a/b.git", &[]),
            repository("github.com/a/b", &[]),
            repository("app", &[]),
            repository("h.example/a", &[]),
        ];
        let targets = from_scopes(&on, registered);
        assert_eq!(
            shown(&targets),
            [
                "one /gone/one [\"main\", \"next\"]",
                "example.org/a/b https://example.org/a/b.git []",
                "github.com/a/b https://github.com/a/b []",
                "app /gone/app []",
                "h.example/a git@h.example:a []",
            ]
        );
        assert_eq!(targets.skipped, []);
    }

    #[test]
    fn a_repository_is_worked_on_once_and_the_last_word_counts() {
        let on = [
            repository("/gone/one", &["main"]),
            repository("https://h.org/a", &[]),
            repository("/gone//one/", &["next"]),
            repository("https://h.org/a.git", &[]),
            repository("ssh://git@h.org/a", &[]),
        ];
        let targets = from_scopes(&on, registered);
        assert_eq!(
            shown(&targets),
            [
                "one /gone/one [\"next\"]",
                "https://h.org/a https://h.org/a []",
                "ssh://git@h.org/a ssh://git@h.org/a []"
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_skipped_with_a_reason() {
        let on = [
            Scope::Query { query: "lang:go".to_owned() },
            repository("../app", &[]),
            repository("https://me:hunter2@h.org/a", &[]),
            repository("lib", &[]),
            repository("a/b", &[]),
        ];
        let targets = from_scopes(&on, registered);
        assert_eq!(targets.targets, []);
        let skipped: Vec<_> =
            targets.skipped.iter().map(|skip| (skip.repository.as_str(), skip.message.as_str())).collect();
        assert!(
            skipped[0].0 == "lang:go" && skipped[0].1.starts_with("Searches are not supported"),
            "{skipped:?}"
        );
        assert!(
            skipped[1].1.contains("neither a clone URL nor an absolute path. Give a clone URL"),
            "{skipped:?}"
        );
        assert_eq!(skipped[2].0, "https://h.org/a");
        assert!(
            skipped[3].1.contains("several repositories. Write one of: /gone/x/lib, /gone/y/lib"),
            "{skipped:?}"
        );
        assert!(skipped[4].1.contains("neither"), "{skipped:?}");
        assert!(!format!("{skipped:?}").contains("hunter2"));
    }
}
