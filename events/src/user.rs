//! Users: who may sign in, and how much they may do.
//!
//! Owns names and roles. Of a password it knows the name of a blob that the gateway alone can read: whoever reads the log
//! learns nothing that a password could be guessed with. Invariant: a name is one person's for ever, because events are
//! signed with it; so whoever a provider of identities sends is known by its identity, never by a name alone.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blob::{BlobKind, BlobRef, Sha256};
use crate::event::event_types;
use crate::id::UserId;
use crate::rejection::{Code, Rejection};

/// Whoever may read a gateway's data directory; nobody else can have this name.
pub const LOCAL: &str = "local";

/// The longest name.
const NAME_BYTES: usize = 64;

event_types! {
    /// There is a user of this name.
    Created = "created" / 2,
    /// The user may do more or less than before.
    RoleChanged = "role_changed" / 1,
    /// The user has a password, or another one.
    PasswordSet = "password_set" / 1,
    /// The user is somebody whom a provider of identities knows, or somebody else than before.
    Linked = "linked" / 1,
    /// The user may do nothing any more, for ever.
    Removed = "removed" / 1,
}

/// A user's name: 1 to 64 characters of a-z, 0-9, `-`, `.`, `_` and `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct UserName(String);

/// The text does not name a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot name a user: use 1 to 64 characters of a-z, 0-9, `-`, `.`, `_` and `@`, and not `{LOCAL}`"
)]
pub struct InvalidUserName(pub String);

impl UserName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = InvalidUserName;

    fn from_str(text: &str) -> Result<Self, InvalidUserName> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._@".contains(&byte);
        if (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(known) && text != LOCAL {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidUserName(text.to_owned()))
        }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl UserId {
    /// The id of the user with this name.
    pub fn named(name: &UserName) -> Self {
        Self::derived(&[name.as_str()])
    }
}

/// How much somebody may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See everything but users and their tokens.
    Viewer,
    /// Run actions, and all that belongs to it.
    Operator,
    /// Decide who may do what.
    Admin,
}

impl Role {
    /// Every role, the lowest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its name, as everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Reads its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the hash of a password is: a blob that the gateway alone can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordRef {
    /// The digest of the hash, of which nothing can be guessed: 128 random bits of salt stand in it and nowhere else.
    pub sha256: Sha256,
    /// The length of the hash in bytes.
    pub size: u64,
}

impl PasswordRef {
    /// The blob.
    pub fn blob(&self) -> BlobRef {
        BlobRef { kind: BlobKind::Password, sha256: self.sha256.clone(), size: self.size }
    }
}

impl From<BlobRef> for PasswordRef {
    fn from(blob: BlobRef) -> Self {
        Self { sha256: blob.sha256, size: blob.size }
    }
}

/// Somebody as a provider of identities knows them: for ever the same person, whatever their name or address is by now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The provider: its URL, as it stands in what it signs.
    pub issuer: String,
    /// Its name for the person, which it never gives to another.
    pub subject: String,
}

/// The longest URL of a provider.
const ISSUER_BYTES: usize = 1_000;

/// The longest subject, as OpenID Connect Core 1.0 has it (section 2).
const SUBJECT_BYTES: usize = 255;

/// The text does not name an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// No provider has such a URL.
    #[error("`{0}` is not the URL of a provider of identities")]
    Issuer(String),
    /// No provider names somebody so.
    #[error("a subject has 1 to {SUBJECT_BYTES} printable bytes")]
    Subject,
}

impl Identity {
    /// Takes a provider's URL and its name for somebody.
    ///
    /// # Errors
    /// When either cannot be what it is to be.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Result<Self, InvalidIdentity> {
        let (issuer, subject) = (issuer.into(), subject.into());
        let is_url = issuer.starts_with("https://") || issuer.starts_with("http://");
        let unprintable = |byte: u8| byte.is_ascii_control() || byte == b' ';
        if !is_url || issuer.len() > ISSUER_BYTES || issuer.bytes().any(unprintable) {
            return Err(InvalidIdentity::Issuer(issuer));
        }
        if !(1..=SUBJECT_BYTES).contains(&subject.len()) || subject.contains(char::is_control) {
            return Err(InvalidIdentity::Subject);
        }
        Ok(Self { issuer, subject })
    }
}

/// The payload of `user.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The name.
    pub name: UserName,
    /// What the user may do.
    pub role: Role,
    /// Where the password's hash is; absent: there is none yet.
    #[serde(default)]
    pub password: Option<PasswordRef>,
    /// Whom a provider of identities knows as this user; absent: nobody.
    #[serde(default)]
    pub identity: Option<Identity>,
}

/// The payload of `user.role_changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleChanged {
    /// What the user may do from now on.
    pub role: Role,
}

/// The payload of `user.password_set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordSet {
    /// Where the password's hash is.
    pub password: PasswordRef,
}

/// The payload of `user.linked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Linked {
    /// Who signs in as this user from now on; whoever did before does not any more.
    pub identity: Identity,
}

/// The payload of `user.removed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// What the user may do; absent before there was one, and after its end.
    pub role: Option<Role>,
    /// Where the password's hash is, if there is one.
    pub password: Option<PasswordRef>,
    /// Whom a provider of identities knows as this user.
    pub identity: Option<Identity>,
    /// Whether the name is used up.
    pub removed: bool,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let there be a user.
    Create(Created),
    /// Let the user do more or less.
    ChangeRole(Role),
    /// Give the user a password.
    SetPassword(PasswordRef),
    /// Let whoever a provider of identities knows so sign in as the user, and nobody else whom it knows.
    Link(Identity),
    /// Let the user do nothing any more.
    Remove,
}

/// Decides what a command means for a user in this state.
pub fn decide(user: &User, command: Command) -> Result<Option<Event>, Rejection> {
    match (command, user.role) {
        (Command::Remove, None) if user.removed => Ok(None),
        (Command::Create(_), _) if user.removed => Err(Rejection::new(
            Code::AlreadyExists,
            "a user of this name was removed",
            "Events are signed with names, so that each is one person's for ever: choose another one.",
        )),
        (Command::Create(created), None) => Ok(Some(created.into())),
        (Command::Create(_), Some(_)) => Err(Rejection::new(
            Code::AlreadyExists,
            "there is a user of this name already",
            "`patchwave user list` shows the users there are. Choose another name, or change that one.",
        )),
        (_, None) => Err(Rejection::new(
            Code::NotFound,
            "there is no user of this name",
            "`patchwave user list` shows the users there are.",
        )),
        (Command::ChangeRole(role), Some(before)) => {
            Ok((role != before).then(|| RoleChanged { role }.into()))
        }
        (Command::SetPassword(password), Some(_)) => {
            Ok((user.password.as_ref() != Some(&password)).then(|| PasswordSet { password }.into()))
        }
        (Command::Link(identity), Some(_)) => {
            Ok((user.identity.as_ref() != Some(&identity)).then(|| Linked { identity }.into()))
        }
        (Command::Remove, Some(_)) => Ok(Some(Removed {}.into())),
    }
}

/// Takes an event in.
pub fn evolve(mut user: User, event: &Event) -> User {
    match event {
        Event::Created(created) => {
            let (password, identity) = (created.password.clone(), created.identity.clone());
            user = User { role: Some(created.role), password, identity, removed: false };
        }
        Event::RoleChanged(changed) => user.role = Some(changed.role),
        Event::PasswordSet(set) => user.password = Some(set.password.clone()),
        Event::Linked(linked) => user.identity = Some(linked.identity.clone()),
        Event::Removed(Removed {}) => user = User { removed: true, ..User::default() },
    }
    user
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn hash(byte: u8) -> PasswordRef {
        PasswordRef { sha256: Sha256::from_bytes(&[byte; 32]), size: 97 }
    }

    fn created(role: Role) -> Created {
        Created { name: "anna".parse().unwrap(), role, password: Some(hash(1)), identity: None }
    }

    fn identity(subject: &str) -> Identity {
        Identity::new("https://id.example.org", subject).unwrap()
    }

    fn verdict(history: &[Event], command: Command) -> Result<Option<&'static str>, Code> {
        let user = history.iter().fold(User::default(), evolve);
        let decided = decide(&user, command);
        decided.map(|event| event.map(|event| event.name())).map_err(|rejection| rejection.code)
    }

    #[test]
    fn a_name_is_written_in_one_way() {
        for good in ["a", "anna", "anna.b@example.org", "0-_", "x".repeat(64).as_str()] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", "Anna", "a b", "a:b", "local", "\u{e4}", "a\0", "x".repeat(65).as_str()] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
        // Ids are stored for ever: this value must never change.
        let id = UserId::named(&"anna".parse().unwrap());
        assert_eq!(id, UserId::derived(&["anna"]));
    }

    #[test]
    fn roles_go_from_the_least_to_the_most() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.as_str()), Some(role));
        }
        assert_eq!(Role::from_name("root"), None);
    }

    #[test]
    fn a_user_comes_changes_and_goes() {
        let anna = [created(Role::Viewer).into()];
        assert_eq!(verdict(&[], Command::Create(created(Role::Viewer))), Ok(Some("created")));
        assert_eq!(verdict(&anna, Command::ChangeRole(Role::Admin)), Ok(Some("role_changed")));
        assert_eq!(verdict(&anna, Command::ChangeRole(Role::Viewer)), Ok(None));
        assert_eq!(verdict(&anna, Command::SetPassword(hash(2))), Ok(Some("password_set")));
        assert_eq!(verdict(&anna, Command::SetPassword(hash(1))), Ok(None));
        assert_eq!(verdict(&anna, Command::Remove), Ok(Some("removed")));
        for command in [
            Command::ChangeRole(Role::Admin),
            Command::SetPassword(hash(1)),
            Command::Link(identity("1")),
            Command::Remove,
        ] {
            assert_eq!(verdict(&[], command), Err(Code::NotFound));
        }
    }

    #[test]
    fn a_user_is_one_identity_until_it_is_made_another() {
        let provided = Created { password: None, identity: Some(identity("1")), ..created(Role::Viewer) };
        let mut history = vec![Event::from(provided)];
        assert_eq!(verdict(&history, Command::Link(identity("1"))), Ok(None));
        assert_eq!(verdict(&history, Command::Link(identity("2"))), Ok(Some("linked")));
        history.push(Linked { identity: identity("2") }.into());
        assert_eq!(history.iter().fold(User::default(), evolve).identity, Some(identity("2")));
        assert_eq!(verdict(&history, Command::Link(identity("1"))), Ok(Some("linked")));
        history.push(Removed {}.into());
        assert_eq!(history.iter().fold(User::default(), evolve).identity, None);
        assert_eq!(verdict(&history, Command::Link(identity("2"))), Err(Code::NotFound));
    }

    #[test]
    fn an_identity_is_a_url_and_a_subject() {
        let long = "x".repeat(256);
        assert!(Identity::new("http://127.0.0.1:4000", &long[1..]).is_ok());
        for issuer in ["", "id.example.org", "ftp://id.example.org", "https://id example.org"] {
            assert!(matches!(Identity::new(issuer, "1"), Err(InvalidIdentity::Issuer(_))), "{issuer}");
        }
        for subject in ["", "a\n", &long] {
            assert_eq!(Identity::new("https://id.example.org", subject), Err(InvalidIdentity::Subject));
        }
    }

    #[test]
    fn a_name_is_used_once() {
        let again = || Command::Create(created(Role::Admin));
        let mut history = vec![Event::from(created(Role::Viewer))];
        assert_eq!(verdict(&history, again()), Err(Code::AlreadyExists));
        history.push(Removed {}.into());
        assert_eq!(verdict(&history, again()), Err(Code::AlreadyExists));
        assert_eq!(verdict(&history, Command::Remove), Ok(None));
        assert_eq!(verdict(&history, Command::ChangeRole(Role::Admin)), Err(Code::NotFound));
    }
}
