//! `patchwave.registries`: the logins for registries of images.
//!
//! Owns what the host of a registry may be. Never sees a password: only the name of the secret that is one.

use events::secret::SecretName;

use super::walk::{Shape, Walk};
use crate::diagnostic::{Code, Problem, shown};
use crate::document::Node;
use crate::settings::Registry;

pub(super) const REGISTRY: Shape = Shape {
    what: "an item of `registries`",
    keys: &["host", "username", "password"],
    elsewhere: &[
        ("registry", "it is called `host`"),
        ("user", "it is called `username`"),
        ("token", "it is called `password`, and names a secret"),
        ("secret", "it is called `password`, and names a secret"),
    ],
};

/// The most registries that a definition can name.
const MAX_REGISTRIES: usize = 16;

/// The longest name of a host, and of a user.
const MAX_BYTES: usize = 255;

/// Reads `patchwave.registries`.
pub(super) fn registries(walk: &mut Walk<'_>, node: &Node) -> Vec<Registry> {
    let items = walk.list(node, "registries").unwrap_or_default();
    if items.len() > MAX_REGISTRIES {
        let message = format!("there are {} registries, {MAX_REGISTRIES} are the most", items.len());
        walk.problem(
            Problem::new(Code::TooLarge, node.anchor(), message)
                .hint("name those whose images the steps use"),
        );
        return Vec::new();
    }
    let mut registries: Vec<Registry> = Vec::new();
    for item in items {
        let Some(registry) = registry(walk, item) else { continue };
        if registries.iter().any(|other| other.host == registry.host) {
            let message = format!("`{}` stands here twice", shown(&registry.host));
            walk.problem(
                Problem::new(Code::DuplicateKey, item.anchor(), message).hint("keep one login for each host"),
            );
        } else {
            registries.push(registry);
        }
    }
    registries
}

fn registry(walk: &mut Walk<'_>, item: &Node) -> Option<Registry> {
    let fields = walk.map(item, &REGISTRY)?;
    let host = walk.required(&fields, "host").and_then(|node| host(walk, node));
    let username = walk.required(&fields, "username").and_then(|node| username(walk, node));
    let password = walk.required(&fields, "password").and_then(|node| password(walk, node));
    Some(Registry { host: host?, username: username?, password: password? })
}

/// The host as images name it.
fn host(walk: &mut Walk<'_>, node: &Node) -> Option<String> {
    let text = walk.filled(node, "host")?;
    let (name, port) = text.split_once(':').unwrap_or((text, "0"));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let is_name = !name.is_empty() && name.len() <= MAX_BYTES && name.bytes().all(plain);
    // The engine takes a first part without these for a folder of its own registry.
    let is_host = name.contains('.') || text.contains(':') || name == "localhost";
    if is_name && is_host && port.parse::<u16>().is_ok() {
        return Some(text.to_owned());
    }
    let message = format!("`{}` cannot be the host of a registry", shown(text));
    let hint = "write it as the names of its images begin: `registry.example.com` or `localhost:5000`, without `https://`; \
                `docker.io` is that of names without a host";
    walk.problem(Problem::new(Code::InvalidValue, node.anchor(), message).hint(hint));
    None
}

fn username(walk: &mut Walk<'_>, node: &Node) -> Option<String> {
    let name = walk.filled(node, "username")?;
    if name.len() <= MAX_BYTES && !name.contains(|c: char| c.is_control() || c == ':') {
        return Some(name.to_owned());
    }
    let message = "this cannot be the name of a user";
    let hint = format!("it has at most {MAX_BYTES} bytes, no colon and no control characters");
    walk.problem(Problem::new(Code::InvalidValue, node.anchor(), message).hint(hint));
    None
}

/// The name of the secret. What stands there in its place may be one: it is not repeated.
fn password(walk: &mut Walk<'_>, node: &Node) -> Option<SecretName> {
    let text = walk.filled(node, "password")?;
    let name = text.parse().ok();
    if name.is_none() {
        let hint = "keep it with `patchwave secret set NAME`, and write NAME here: up to 128 ASCII letters, digits and `_`";
        let message = "`password` takes the name of a secret";
        walk.problem(Problem::new(Code::InvalidValue, node.anchor(), message).hint(hint));
    }
    name
}
