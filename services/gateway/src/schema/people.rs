//! Users and tokens as they are shown, and what can be done with them.

use async_graphql::{Context, Enum, ID, InputObject, Result, SimpleObject};
use broker::sealing::Plain;
use chrono::{SecondsFormat, Utc};
use events::id::UserId;
use events::rejection::Code;
use events::token::TokenKind;
use events::user::{self, InvalidIdentity, InvalidUserName, UserName};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::connection::Total;
use super::mutation::written;
use super::scalar::{DateTime, Named as _, Sequence, states};
use crate::access::{Caller, Via};
use crate::command::{Commands, Done, NewUserToken, TokenWanted};
use crate::fault::Fault;
use crate::projection::{Bound, Cursor, Identified, List, Listed, Order, Projection};

states! {
    /// How much somebody may do; each role may do what those before it may.
    Role {
        /// See everything but users and others' tokens.
        Viewer = "viewer",
        /// Run actions, and all that belongs to it.
        Operator = "operator",
        /// Decide who may do what.
        Admin = "admin",
    }
}

impl From<user::Role> for Role {
    fn from(role: user::Role) -> Self {
        match role {
            user::Role::Viewer => Self::Viewer,
            user::Role::Operator => Self::Operator,
            user::Role::Admin => Self::Admin,
        }
    }
}

impl From<Role> for user::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

states! {
    /// What a token was made for.
    UserTokenKind {
        /// A program keeps it.
        Access = "access",
        /// Somebody signed in.
        Session = "session",
    }
}

/// How whoever asks is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum KnownBy {
    /// Not at all: the gateway knows no users.
    Nothing,
    /// By the data directory.
    DataDirectory,
    /// By an access token.
    Token,
    /// By a password or a provider of identities, some time ago.
    Session,
}

/// Whoever asks.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Viewer {
    /// The user's name; `local` is whoever may read the gateway's data directory.
    name: String,
    /// What they may do at most.
    role: Role,
    via: KnownBy,
}

impl From<&Caller> for Viewer {
    fn from(caller: &Caller) -> Self {
        let via = match caller.via {
            Via::Nothing => KnownBy::Nothing,
            Via::Local => KnownBy::DataDirectory,
            Via::Token(TokenKind::Access, _) => KnownBy::Token,
            Via::Token(TokenKind::Session, _) => KnownBy::Session,
        };
        Self { name: caller.name.clone(), role: caller.role.into(), via }
    }
}

/// Somebody as a provider of identities knows them.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Identity {
    /// The provider's URL.
    issuer: String,
    /// Its name for them, which it never gives to another.
    subject: String,
}

/// Somebody who may sign in.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct User {
    id: ID,
    name: String,
    role: Role,
    /// Whether they may do nothing any more. Their name is not used again.
    removed: bool,
    /// When the password was set; absent: there is none, and nobody can sign in with one.
    password_set_at: Option<DateTime>,
    /// Who signs in as this user through a provider of identities; absent: nobody.
    identity: Option<Identity>,
    /// Who made this user.
    actor: String,
    created_at: DateTime,
}

impl Identified for User {
    const VIEW: &'static str = "users";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for User {
    const VIEW: &'static str = "users";
    const ORDER: Order = Order { columns: &["name"], descending: false };

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Text(self.name.clone())])
    }
}

impl FromRow<'_, AnyRow> for User {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: ID(row.try_get("id")?),
            name: row.try_get("name")?,
            role: Role::from_text(&row.try_get::<String, _>("role")?)?,
            removed: row.try_get::<i64, _>("removed")? != 0,
            password_set_at: row.try_get::<Option<String>, _>("password_set_at")?.map(DateTime),
            identity: Option::zip(row.try_get("issuer")?, row.try_get("subject")?)
                .map(|(issuer, subject)| Identity { issuer, subject }),
            actor: row.try_get("actor")?,
            created_at: DateTime(row.try_get("created_at")?),
        })
    }
}

/// What somebody shows instead of a password, without the token itself.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct UserToken {
    id: ID,
    /// Whose it is.
    user: String,
    /// What its user calls it.
    name: String,
    kind: UserTokenKind,
    /// The most that it may do; its user may do less by now.
    role: Role,
    issued_at: DateTime,
    expires_at: DateTime,
    revoked_at: Option<DateTime>,
}

/// Tokens with the names of their users; the tokens are looked for first, so that their order is an index's.
macro_rules! tokens {
    ($and:literal) => {
        concat!(
            "(SELECT tokens.id AS id, user_id, users.name AS user_name, tokens.name AS name, kind, tokens.role AS role,
            issued_at, expires_at, revoked_at
            FROM tokens CROSS JOIN users WHERE users.id = tokens.user_id",
            $and,
            ") AS named_tokens"
        )
    };
}

impl Identified for UserToken {
    const VIEW: &'static str = tokens!("");

    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for UserToken {
    const VIEW: &'static str = tokens!(" AND revoked_at IS NULL AND removed = 0");
    const ORDER: Order = Order { columns: &["expires_at", "id"], descending: false };

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Text(self.expires_at.0.clone()), Bound::Text(self.id.0.clone())])
    }
}

impl FromRow<'_, AnyRow> for UserToken {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: ID(row.try_get("id")?),
            user: row.try_get("user_name")?,
            name: row.try_get("name")?,
            kind: UserTokenKind::from_text(&row.try_get::<String, _>("kind")?)?,
            role: Role::from_text(&row.try_get::<String, _>("role")?)?,
            issued_at: DateTime(row.try_get("issued_at")?),
            expires_at: DateTime(row.try_get("expires_at")?),
            revoked_at: row.try_get::<Option<String>, _>("revoked_at")?.map(DateTime),
        })
    }
}

/// A user who is to be.
#[derive(InputObject)]
pub(crate) struct CreateUserInput {
    /// 1 to 64 characters of a-z, 0-9, `-`, `.`, `_` and `@`. One that was removed is not taken again.
    name: String,
    role: Role,
    /// 12 characters at least; absent: nobody can sign in with one until it is set.
    password: Option<String>,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// A user and another role.
#[derive(InputObject)]
pub(crate) struct SetUserRoleInput {
    name: String,
    role: Role,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// A user and another password.
#[derive(InputObject)]
pub(crate) struct SetPasswordInput {
    /// Whose it is; absent: whoever asks.
    name: Option<String>,
    /// 12 characters at least.
    password: String,
    /// The one before: needed by all but administrators.
    current_password: Option<String>,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// A user, and who they are to a provider of identities.
#[derive(InputObject)]
pub(crate) struct LinkUserInput {
    name: String,
    /// The provider's URL, as the gateway has it in `--oidc-issuer`.
    issuer: String,
    /// The provider's name for the person: not their address. Whoever is refused is shown it.
    subject: String,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// A user who is to be no more.
#[derive(InputObject)]
pub(crate) struct RemoveUserInput {
    name: String,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// What a token is to be for.
#[derive(InputObject)]
pub(crate) struct CreateTokenInput {
    /// What its user calls it.
    name: String,
    /// Whose it is; absent: whoever asks.
    user: Option<String>,
    /// The most that it may do; absent: what whoever asks may do.
    role: Option<Role>,
    /// For how many days, 366 at most.
    #[graphql(default = 90)]
    expires_in_days: i32,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// A token that is to be worth nothing.
#[derive(InputObject)]
pub(crate) struct RevokeTokenInput {
    id: ID,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct UserPayload {
    user: User,
    sequence: Sequence,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct CreateTokenPayload {
    /// The token itself. It is shown here and nowhere else; absent where the same request had made it before.
    token: Option<String>,
    id: ID,
    user: String,
    expires_at: DateTime,
    sequence: Sequence,
}

/// What came of it.
#[derive(SimpleObject)]
pub(crate) struct RevokeTokenPayload {
    token: UserToken,
    sequence: Sequence,
}

/// Every user that was not removed, by name.
pub(super) fn users() -> (List, Total) {
    (List::of::<User>().with("removed", false), Total::Kept("users".to_owned(), None))
}

/// The tokens of a user that are worth something. How many is not kept: they end without an event.
pub(super) fn tokens(caller: &Caller, user: Option<String>) -> Result<(List, Total), Fault> {
    // Times sort as text where all are written alike, and what ended stands before what did not.
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let list = List::of::<UserToken>().behind(Cursor(vec![now.into(), "".into()]));
    let user = match user {
        Some(user) => {
            caller.check_for(&user, "tokens")?;
            user_name(&user)?
        }
        // The local administrator has none, and sees everybody's.
        None if caller.name == user::LOCAL => return Ok((list, Total::Unknown)),
        None => user_name(&caller.name)?,
    };
    Ok((list.with("user_id", UserId::named(&user).to_string()), Total::Unknown))
}

pub(super) async fn create_user(ctx: &Context<'_>, input: CreateUserInput) -> Result<UserPayload> {
    let password = input.password.map(Plain::new);
    let wanted = (user_name(&input.name)?, input.role.into());
    let commands = ctx.data::<Commands>()?;
    shown(ctx, commands.create_user(wanted, password, input.mutation_id.as_deref()).await?).await
}

pub(super) async fn set_user_role(ctx: &Context<'_>, input: SetUserRoleInput) -> Result<UserPayload> {
    let wanted = (user_name(&input.name)?, input.role.into());
    let commands = ctx.data::<Commands>()?;
    shown(ctx, commands.set_user_role(wanted, input.mutation_id.as_deref()).await?).await
}

pub(super) async fn set_password(ctx: &Context<'_>, input: SetPasswordInput) -> Result<UserPayload> {
    let passwords = (Plain::new(input.password), input.current_password.map(Plain::new));
    let commands = ctx.data::<Commands>()?;
    let name = match input.name {
        Some(name) => user_name(&name)?,
        None => commands.own_name()?,
    };
    shown(ctx, commands.set_password(name, passwords, input.mutation_id.as_deref()).await?).await
}

pub(super) async fn link_user(ctx: &Context<'_>, input: LinkUserInput) -> Result<UserPayload> {
    let identity = user::Identity::new(input.issuer, input.subject).map_err(|error: InvalidIdentity| {
        Fault::invalid(error.to_string(), "Take both from the page that refused whoever is to be linked.")
    })?;
    let wanted = (user_name(&input.name)?, identity);
    let commands = ctx.data::<Commands>()?;
    shown(ctx, commands.link_user(wanted, input.mutation_id.as_deref()).await?).await
}

pub(super) async fn remove_user(ctx: &Context<'_>, input: RemoveUserInput) -> Result<UserPayload> {
    let commands = ctx.data::<Commands>()?;
    let done = commands.remove_user(user_name(&input.name)?, input.mutation_id.as_deref()).await?;
    shown(ctx, done).await
}

pub(super) async fn create_token(ctx: &Context<'_>, input: CreateTokenInput) -> Result<CreateTokenPayload> {
    let commands = ctx.data::<Commands>()?;
    let user = input.user.as_deref().map(user_name).transpose()?;
    let (name, role, days) = (input.name, input.role.map(Into::into), input.expires_in_days);
    let wanted = TokenWanted { name, user, role, days };
    let made = commands.create_token(wanted, input.mutation_id.as_deref()).await?;
    let NewUserToken { token, is_new, done, user, expires_at } = made;
    // The token is shown here alone: a projection that is late must not keep it back.
    let _ = ctx.data::<Projection>()?.reach(done.sequence).await;
    Ok(CreateTokenPayload {
        token: is_new.then(|| token.reveal().to_owned()),
        id: ID(done.id),
        user: user.to_string(),
        expires_at: DateTime(expires_at.to_rfc3339()),
        sequence: Sequence(done.sequence),
    })
}

pub(super) async fn revoke_token(ctx: &Context<'_>, input: RevokeTokenInput) -> Result<RevokeTokenPayload> {
    let id = input.id.parse().map_err(super::malformed)?;
    let done = ctx.data::<Commands>()?.revoke_token(id, input.mutation_id.as_deref()).await?;
    Ok(RevokeTokenPayload { token: written(ctx, &done).await?, sequence: Sequence(done.sequence) })
}

async fn shown(ctx: &Context<'_>, done: Done) -> Result<UserPayload> {
    let user = written(ctx, &done).await?;
    Ok(UserPayload { user, sequence: Sequence(done.sequence) })
}

fn user_name(text: &str) -> Result<UserName, Fault> {
    text.parse().map_err(|error: InvalidUserName| {
        Fault::new(
            Code::InvalidName,
            error.to_string(),
            "Take the name from the address, `anna@example.org` say.",
        )
    })
}
