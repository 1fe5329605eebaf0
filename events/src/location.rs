//! Locations: where a repository is, as users write it.
//!
//! Owns which texts are clone URLs or absolute paths and what is refused at the border. Never looks whether anything is
//! there. Invariant: a location holds no credentials, so that it may stand in an event.

use percent_encoding::percent_decode_str;

use crate::rejection::{Code, Rejection};

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// An absolute path on the machine of the catalog, without doubled slashes or one at its end.
    Local(String),
    /// On a host.
    Remote(Remote),
}

/// A repository on a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Remote {
    /// What git clones.
    pub url: String,
    /// How git speaks to the host: `https`, `http`, `ssh` or `git`.
    pub scheme: &'static str,
    /// The host in lower case, with its port if one is given.
    pub host: String,
    /// The path on the host, without slashes at its ends and without `.git`.
    pub path: String,
}

/// How to write it instead.
const HINT: &str = "Give a clone URL (`https://host/path`, `ssh://git@host/path` or `git@host:path`), \
                    or the absolute path of a repository on the machine of the catalog.";

impl Location {
    /// Reads a clone URL or an absolute path.
    ///
    /// # Errors
    /// When it is neither, or holds credentials; the message never repeats those.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        if text.is_empty() || text.contains(char::is_control) {
            return Err(refused(text, "is not a repository's address"));
        }
        if text.starts_with('/') {
            return Ok(Self::Local(tidy(text)));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return url(text, scheme, rest);
        }
        match text.split_once(':') {
            Some((host, path)) if !host.contains('/') && !path.starts_with(':') => scp(text, host, path),
            Some(_) => Err(refused(text, "names a way of reaching repositories that is not allowed")),
            None => Err(refused(text, "is neither a clone URL nor an absolute path")),
        }
    }

    /// The text that names it in events: a clone URL or an absolute path.
    pub fn url(&self) -> &str {
        match self {
            Self::Local(path) => path,
            Self::Remote(remote) => &remote.url,
        }
    }
}

fn url(text: &str, scheme: &str, rest: &str) -> Result<Location, Rejection> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "file" if matches!(authority, "" | "localhost") => {
            let path = percent_decode_str(path).decode_utf8();
            let path = path.map_err(|_| refused(text, "holds a path that is not UTF-8"))?;
            return Ok(Location::Local(tidy(&format!("/{path}"))));
        }
        "https" => "https",
        "http" => "http",
        "ssh" => "ssh",
        "git" => "git",
        _ => return Err(refused(text, "names a way of reaching repositories that is not allowed")),
    };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host.to_ascii_lowercase()),
        None => (None, authority.to_ascii_lowercase()),
    };
    // With https a lone user name is often a token; with ssh it only says which account the key is for.
    if user.is_some_and(|user| scheme != "ssh" || user.contains(':')) {
        return Err(credentials(text));
    }
    let path = path.trim_matches('/');
    if path.contains(['?', '#']) {
        return Err(refused(text, "has a query or a fragment, which clone URLs do not have"));
    }
    check(text, &[user.unwrap_or("git"), &host, path])?;
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let url = format!("{scheme}://{user}{host}/{path}");
    Ok(Location::Remote(Remote { url, scheme, host, path: without_git(path).to_owned() }))
}

/// `user@host:path`, as ssh's own tools have it.
fn scp(text: &str, authority: &str, path: &str) -> Result<Location, Rejection> {
    if path.split('/').next().is_some_and(|first| first.contains('@')) {
        return Err(credentials(text));
    }
    let (user, host) = authority.rsplit_once('@').unwrap_or(("git", authority));
    let host = host.to_ascii_lowercase();
    let trimmed = path.trim_end_matches('/');
    check(text, &[user, &host, trimmed])?;
    let url = match authority.rsplit_once('@') {
        Some((user, _)) => format!("{user}@{host}:{trimmed}"),
        None => format!("{host}:{trimmed}"),
    };
    let path = without_git(trimmed).trim_start_matches('/').to_owned();
    Ok(Location::Remote(Remote { url, scheme: "ssh", host, path }))
}

/// No part may be empty, hold white space, or look like an option to a program that gets it.
fn check(text: &str, parts: &[&str]) -> Result<(), Rejection> {
    let good =
        |part: &&str| !part.is_empty() && !part.starts_with('-') && !part.contains(char::is_whitespace);
    if parts.iter().all(good) && parts.get(1).is_some_and(|host| is_host(host)) {
        Ok(())
    } else {
        Err(refused(text, "is not a clone URL"))
    }
}

/// A name or an address, with a port where one is given.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (text, "0"),
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).map_or_else(
        || name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')) && !name.is_empty(),
        |address| address.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.')),
    );
    name && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_git(path: &str) -> &str {
    path.strip_suffix(".git").filter(|rest| !rest.is_empty() && !rest.ends_with('/')).unwrap_or(path)
}

/// An absolute path without empty parts and without `.`; what `..` means is the file system's to say.
fn tidy(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

fn refused(text: &str, why: &str) -> Rejection {
    Rejection::new(Code::InvalidRequest, format!("`{}` {why}", without_credentials(text)), HINT)
}

fn credentials(text: &str) -> Rejection {
    let message = format!("the address of `{}` holds a user name or a password", without_credentials(text));
    let hint = "Write it without: what stands in an address would be stored and shown. Only `ssh` takes a user name.";
    Rejection::new(Code::InvalidRequest, message, hint)
}

/// A text that may be shown, whatever it was meant to be: what can be credentials is left out.
pub fn without_credentials(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(start);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    scheme.chars().chain(rest.chars()).filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        match Location::parse(text).unwrap() {
            Location::Local(path) => path,
            Location::Remote(remote) => {
                format!("{} {} {} {}", remote.url, remote.scheme, remote.host, remote.path)
            }
        }
    }

    #[test]
    fn clone_urls_and_absolute_paths_are_read() {
        for (text, expected) in [
            ("/srv/git/app", "/srv/git/app"),
            ("/srv//git/./app/", "/srv/git/app"),
            ("file:///srv/a%20b", "/srv/a b"),
            ("https://GitHub.com/a/b.git", "https://github.com/a/b.git https github.com a/b"),
            ("HTTPS://h:8443/a/b/", "https://h:8443/a/b https h:8443 a/b"),
            ("ssh://git@h:2222/a/b.git", "ssh://git@h:2222/a/b.git ssh h:2222 a/b"),
            ("git@github.com:a/b.git", "git@github.com:a/b.git ssh github.com a/b"),
            ("h:/srv/a", "h:/srv/a ssh h srv/a"),
            ("git://[::1]:9418/a", "git://[::1]:9418/a git [::1]:9418 a"),
            (" http://h/.git ", "http://h/.git http h .git"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "app",
            "./app",
            "../app",
            "~/app",
            "a/b",
            "github.com/a/b",
            "ext::sh -c id",
            "fd::7",
            "--upload-pack=x",
            "-oProxyCommand=id:a",
            "ssh://-oProxyCommand=id/a",
            "ssh://git@-x/a",
            "ftp://h/a",
            "https://",
            "https://h",
            "https://h/",
            "https:///a",
            "file://other/a",
            "https://h/a?x=1",
            "https://h/a b",
            "git@h:",
            "git@h:-a",
            "a\nb",
        ] {
            assert!(Location::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        for text in [
            "https://anna:hunter2@h/a",
            "https://hunter2@h/a",
            "ssh://git:hunter2@h/a",
            "git://hunter2@h/a",
            "git:hunter2@h:a",
            "https://anna:hunter2/x@h/a",
            "ftp://hunter2@h/a",
            "https://h/a?token=hunter2",
            "anna:hunter2@h/a",
        ] {
            let rejection = Location::parse(text).unwrap_err();
            assert!(!format!("{rejection:?}").contains("hunter2"), "{text}: {rejection:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_read_reads_the_same_again(text in "(https://|ssh://git@|/|git@h:)?[a-z./:@-]{0,20}") {
            if let Ok(location) = Location::parse(&text) {
                prop_assert_eq!(Location::parse(location.url()), Ok(location));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Location::parse(&text);
        }
    }
}
