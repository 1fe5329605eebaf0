//! The managed broker's configuration, made from the file that operators use.
//!
//! Owns what differs from it: where the server listens and stores, which runners there are, and the passwords.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use events::id::RunnerId;

/// The file that operators use.
const TEMPLATE: &str = include_str!("../../../../nats.conf");

/// The users of the services.
pub const SERVICE_USERS: [&str; 9] = [
    "provisioner",
    "registrar",
    "gateway",
    "catalog",
    "scheduler",
    "log-collector",
    "campaign-plan",
    "projector",
    "operator",
];

/// What a runner's user begins with.
pub(super) const RUNNER_USER: &str = "runner-";

/// A runner's user.
pub fn runner_user(runner: &RunnerId) -> String {
    format!("{RUNNER_USER}{runner}")
}

/// When a message is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Before it is acknowledged.
    #[default]
    Always,
    /// Within a second.
    EverySecond,
}

/// What a managed server is to be like.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where it keeps everything.
    pub folder: PathBuf,
    /// The port on 127.0.0.1; `None`: any that is free.
    pub port: Option<u16>,
    /// The runners that may connect.
    pub runners: Vec<RunnerId>,
    /// When a message is on disk.
    pub sync: Sync,
}

/// What a user may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The subjects to which it may publish.
    pub publish: Vec<String>,
    /// The subjects to which it may subscribe.
    pub subscribe: Vec<String>,
}

/// What a runner may do: the rights of the one block for runners in the file that operators use.
pub fn runner_rights(runner: &RunnerId) -> Rights {
    let (_, block, _) = split_at_runner(TEMPLATE);
    let block = block.replace("local", runner.as_str());
    Rights { publish: listed(&block, "publish: ["), subscribe: listed(&block, "subscribe: [") }
}

/// The quoted entries of a list.
fn listed(block: &str, start: &str) -> Vec<String> {
    let list = block.split_once(start).and_then(|(_, rest)| rest.split_once(']'));
    // Every second piece between quotes stands inside of them.
    list.map_or("", |(list, _)| list).split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Writes the configuration out.
pub fn render(config: &ServerConfig) -> String {
    let (before, block, after) = split_at_runner(TEMPLATE);
    let runners = config.runners.iter().fold(String::new(), |mut text, runner| {
        let variable = variable(&runner_user(runner));
        text.push_str(&block.replace("RUNNER_LOCAL_PASSWORD", &variable).replace("local", runner.as_str()));
        text
    });
    let port = config.port.map_or(-1, i32::from);
    let store = config.folder.join("streams");
    let sync = match config.sync {
        Sync::Always => "always",
        Sync::EverySecond => "\"1s\"",
    };
    // Users that are known here are not asked after at the door.
    let known = config.runners.iter().map(|runner| format!(", \"{}\"", runner_user(runner)));
    let after = after.replace(", \"runner-local\"", &known.collect::<String>());
    format!("{before}{runners}{after}")
        .replace("\nport: 4222\n", &format!("\nport: {port}\n"))
        .replace("store_dir: $NATS_STORE", &format!("store_dir: {}", quoted(&store)))
        .replace("sync_interval: always", &format!("sync_interval: {sync}"))
}

/// The template up to the block of one runner, the block, and the rest.
fn split_at_runner(template: &str) -> (&str, &str, &str) {
    let (start, end) = ("      # runner local\n", "      # end of runner local\n");
    let (before, rest) = template.split_once(start).unwrap_or((template, ""));
    let (block, after) = rest.split_once(end).unwrap_or(("", rest));
    (before, block, after)
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

/// The environment variable that holds a user's password.
fn variable(user: &str) -> String {
    format!("{}_PASSWORD", user.to_uppercase().replace('-', "_"))
}

/// The passwords of the managed server's users: made once, kept in a file that only its owner can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passwords(BTreeMap<String, String>);

impl Passwords {
    /// Reads the file, and adds what it lacks.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn load_or_create(folder: &Path, runners: &[RunnerId]) -> io::Result<Self> {
        let path = folder.join("passwords");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let known = text.lines().filter_map(|line| line.split_once(' '));
        let mut passwords: BTreeMap<String, String> =
            known.map(|(user, password)| (user.to_owned(), password.to_owned())).collect();
        let before = passwords.len();
        let users =
            SERVICE_USERS.iter().map(|user| (*user).to_owned()).chain(runners.iter().map(runner_user));
        for user in users {
            // Version 4 UUIDs: 244 random bits. The letter keeps nats-server from reading a number.
            let fresh = || format!("p{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            passwords.entry(user).or_insert_with(fresh);
        }
        let passwords = Self(passwords);
        if passwords.0.len() > before {
            passwords.save(&path)?;
        }
        Ok(passwords)
    }

    fn save(&self, path: &Path) -> io::Result<()> {
        let text = self.0.iter().fold(String::new(), |mut text, (user, password)| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{user} {password}");
            text
        });
        let next = path.with_extension("next");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&next)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&next, path)
    }

    /// A user's password.
    pub fn get(&self, user: &str) -> Option<&str> {
        self.0.get(user).map(String::as_str)
    }

    /// The server's environment.
    pub fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(user, password)| (variable(user), password.as_str()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn each_runner_has_its_own_user_and_subjects() {
        let runners = vec!["north".parse().unwrap(), "south-2".parse().unwrap()];
        let config =
            ServerConfig { folder: "/var/lib/x".into(), port: None, runners, sync: Sync::EverySecond };
        let text = render(&config);
        for part in [
            "user: runner-north, password: $RUNNER_NORTH_PASSWORD",
            "\"log.south-2.>\"",
            "_INBOX_runner_south-2.>",
            "password: $RUNNER_SOUTH_2_PASSWORD",
            "\nport: -1\n",
            "store_dir: \"/var/lib/x/streams\"",
            "sync_interval: \"1s\"",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(!text.contains("runner-local"));
    }

    #[test]
    fn passwords_are_kept_and_new_runners_get_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = Passwords::load_or_create(folder.path(), &[]).unwrap();
        let second = Passwords::load_or_create(folder.path(), &["north".parse().unwrap()]).unwrap();
        assert_eq!(first.get("gateway"), second.get("gateway"));
        assert!(first.get("runner-north").is_none());
        assert!(second.get("runner-north").is_some_and(|password| password.len() > 60));
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(folder.path().join("passwords")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
}
