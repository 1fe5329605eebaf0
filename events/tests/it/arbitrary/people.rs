//! Random users and tokens.

use events::Timestamp;
use events::token::{self, TokenKind};
use events::user::{self, Identity, PasswordRef, Role, UserName};
use proptest::prelude::*;
use proptest::{option, sample};

use super::{sha256, text};

fn user_name() -> impl Strategy<Value = UserName> {
    "[ab]|[a-z0-9._@-]{1,64}".prop_filter_map("a name", |name| name.parse().ok())
}

fn role() -> impl Strategy<Value = Role> {
    sample::select(Role::ALL.to_vec())
}

fn password() -> impl Strategy<Value = PasswordRef> {
    (sha256(), any::<u64>()).prop_map(|(sha256, size)| PasswordRef { sha256, size })
}

fn identity() -> impl Strategy<Value = Identity> {
    ("https?://[a-z.]{1,20}", "[ -~]{1,255}")
        .prop_map(|(issuer, subject)| Identity::new(issuer, subject).unwrap())
}

fn created() -> impl Strategy<Value = user::Created> {
    (user_name(), role(), option::of(password()), option::of(identity()))
        .prop_map(|(name, role, password, identity)| user::Created { name, role, password, identity })
}

/// Any event of a user.
pub(crate) fn user_event() -> impl Strategy<Value = user::Event> {
    prop_oneof![
        3 => created().prop_map(Into::into),
        1 => role().prop_map(|role| user::RoleChanged { role }.into()),
        1 => password().prop_map(|password| user::PasswordSet { password }.into()),
        1 => identity().prop_map(|identity| user::Linked { identity }.into()),
        1 => Just(user::Removed {}.into()),
    ]
}

/// Any command to a user.
pub(crate) fn user_command() -> impl Strategy<Value = user::Command> {
    prop_oneof![
        3 => created().prop_map(user::Command::Create),
        1 => role().prop_map(user::Command::ChangeRole),
        1 => password().prop_map(user::Command::SetPassword),
        1 => identity().prop_map(user::Command::Link),
        1 => Just(user::Command::Remove),
    ]
}

fn issued() -> impl Strategy<Value = token::Issued> {
    let kind = sample::select(vec![TokenKind::Access, TokenKind::Session]);
    (user_name(), text(), kind, sha256(), role(), 0..4i64).prop_map(
        |(user, name, kind, token_sha256, role, hours)| token::Issued {
            user,
            name,
            kind,
            token_sha256,
            role,
            expires_at: Timestamp::from_timestamp(hours * 3_600, 0).unwrap(),
        },
    )
}

/// Any event of a token.
pub(crate) fn token_event() -> impl Strategy<Value = token::Event> {
    prop_oneof![3 => issued().prop_map(Into::into), 1 => Just(token::Revoked {}.into())]
}

/// Any command to a token.
pub(crate) fn token_command() -> impl Strategy<Value = token::Command> {
    prop_oneof![2 => issued().prop_map(token::Command::Issue), 1 => Just(token::Command::Revoke)]
}
