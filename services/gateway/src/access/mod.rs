//! Access: who asks, and what they may do.
//!
//! Owns the one way from a request to whoever sends it, by one look at the projection and without the broker. Never
//! decides what an operation needs: that is the table in `rules`. Invariant: what a request may do is the least of what its
//! token and its user may, as both stand in the projection now.

mod password;
pub(crate) mod provider;
pub(crate) mod public_url;
mod rates;
pub(crate) mod rules;
pub(crate) mod terminal;
mod throttle;
mod token;

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use broker::Broker;
use chrono::Utc;
use events::Timestamp;
use events::blob::Sha256;
use events::envelope::Actor;
use events::id::TokenId;
use events::rejection::Code;
use events::token::TokenKind;
use events::user::{LOCAL, Role};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

pub(crate) use password::Passwords;
use provider::Provider;
use public_url::PublicUrl;
pub(crate) use rates::Rates;
pub(crate) use throttle::{Throttle, network};
pub use token::Token;
pub(crate) use token::digest;

use crate::Config;
use crate::fault::Fault;
use crate::projection::{Projection, Statement};

/// The cookie that a browser keeps while its user is signed in.
pub(crate) const COOKIE: &str = "patchwave_session";

/// Who may use a gateway.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Whoever reaches it, as the administrator `local`. For a loopback address alone.
    None,
    /// Users; and as the administrator `local` whoever shows the token that this process was started with.
    Users {
        /// Known to this process and to whoever it tells. It stands in no log.
        local: Token,
    },
}

/// Whoever sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user's name.
    pub(crate) name: String,
    /// What they may do at most.
    pub(crate) role: Role,
    /// How they are known.
    pub(crate) via: Via,
}

/// How somebody is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// Not at all: everybody may do everything.
    Nothing,
    /// By the token of the data directory.
    Local,
    /// By a token of theirs.
    Token(TokenKind, TokenId),
}

impl Caller {
    /// Whoever may read the data directory.
    fn local(via: Via) -> Self {
        Self { name: LOCAL.to_owned(), role: Role::Admin, via }
    }

    /// A user with a role who signs in.
    pub(crate) fn signing_in(name: String, role: Role) -> Self {
        Self { name, role, via: Via::Nothing }
    }

    /// With whose name events are signed.
    pub(crate) fn actor(&self) -> Actor {
        Actor::user(&self.name)
    }

    /// Whether this is somebody's own affair.
    pub(crate) fn is(&self, user: &str) -> bool {
        self.name == user
    }
}

/// Knows who asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Access {
    /// The digest of the local token; nothing: everybody may do everything.
    local: Option<Sha256>,
    projection: Projection,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Arc<Throttle>,
    /// What opens the first page of all, once.
    pub(crate) setup: Arc<Sha256>,
    /// Where people sign in without a password, if anywhere.
    pub(crate) provider: Option<Provider>,
    /// Where people reach us, if it is said.
    pub(crate) public_url: Option<PublicUrl>,
}

impl Access {
    /// Over a projection and the blobs of passwords; the last is what the page of the first administrator asks for.
    pub(crate) fn new(
        config: &Config,
        provider: Option<Provider>,
        (projection, broker): (&Projection, &Broker),
        setup: &Token,
    ) -> Self {
        let auth = &config.auth;
        let local = match auth {
            Auth::None => None,
            Auth::Users { local } => Some(local.sha256()),
        };
        Self {
            local,
            projection: projection.clone(),
            passwords: Passwords::new(broker.clone()),
            throttle: Arc::default(),
            setup: Arc::new(setup.sha256()),
            provider,
            public_url: config.public_url.clone(),
        }
    }

    /// Whether there are users to be told apart.
    pub(crate) const fn has_users(&self) -> bool {
        self.local.is_some()
    }

    /// Whether the projection knows of no user.
    pub(crate) async fn nobody_yet(&self) -> Result<bool, Fault> {
        let any: Vec<(String,)> =
            self.projection.select(Statement::new("SELECT id FROM users LIMIT 1")).await?;
        Ok(any.is_empty())
    }

    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// A rejection [`Code::Unauthenticated`] that says why nobody is known.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Fault> {
        let Some(local) = &self.local else { return Ok(Caller::local(Via::Nothing)) };
        let sha256 = shown(headers)?;
        // Digests are compared: how long that takes says nothing about a token that is not known.
        if sha256 == *local {
            return Ok(Caller::local(Via::Local));
        }
        let statement = Statement::new(
            "SELECT tokens.id, users.name, users.role AS user_role, users.removed, tokens.kind, tokens.role, tokens.issued_at, tokens.expires_at,
             tokens.revoked_at, users.password_set_at FROM tokens JOIN users ON users.id = tokens.user_id WHERE tokens.token_sha256 = ",
        );
        let row: Option<Known> = self.projection.select(statement.text(sha256.as_str())).await?.pop();
        let known = row.ok_or_else(|| unauthenticated("the token is not one that was made here"))?;
        if known.revoked || known.removed {
            return Err(unauthenticated("the token was revoked"));
        }
        if known.kind == TokenKind::Session && known.outlived {
            return Err(unauthenticated("the password was changed since"));
        }
        if known.expires_at <= Utc::now() {
            let ended = known.expires_at.format("%Y-%m-%d %H:%MZ");
            return Err(unauthenticated(format!("the token expired at {ended}")));
        }
        let role = known.role.min(known.user_role);
        Ok(Caller { name: known.name, role, via: Via::Token(known.kind, known.id) })
    }
}

/// A token that is known, and whose it is.
struct Known {
    id: TokenId,
    name: String,
    user_role: Role,
    removed: bool,
    kind: TokenKind,
    role: Role,
    expires_at: Timestamp,
    /// Whether the user has had another password since.
    outlived: bool,
    revoked: bool,
}

impl FromRow<'_, AnyRow> for Known {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let role = |column| {
            let name: String = row.try_get(column)?;
            Role::from_name(&name).ok_or_else(|| unreadable(&format!("`{name}` is no role")))
        };
        let kind: String = row.try_get("kind")?;
        let (issued_at, expires_at): (String, String) =
            (row.try_get("issued_at")?, row.try_get("expires_at")?);
        let password_set_at: Option<String> = row.try_get("password_set_at")?;
        let id: String = row.try_get("id")?;
        Ok(Self {
            id: id.parse().map_err(|_| unreadable("a token's id is none"))?,
            name: row.try_get("name")?,
            user_role: role("user_role")?,
            removed: row.try_get::<i64, _>("removed")? != 0,
            kind: if kind == TokenKind::Session.as_str() { TokenKind::Session } else { TokenKind::Access },
            role: role("role")?,
            expires_at: expires_at.parse().map_err(|_| unreadable("a token's end is no time"))?,
            // Both are written alike, so that they sort as text.
            outlived: password_set_at.is_some_and(|set_at| set_at > issued_at),
            revoked: row.try_get::<Option<String>, _>("revoked_at")?.is_some(),
        })
    }
}

fn unreadable(why: &str) -> sqlx::Error {
    sqlx::Error::Decode(why.into())
}

/// The digest of the token that a request shows.
fn shown(headers: &HeaderMap) -> Result<Sha256, Fault> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        return match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(digest(token.trim())),
            _ => Err(unauthenticated("the header `Authorization` holds no bearer token")),
        };
    }
    let token = session(headers).ok_or_else(|| unauthenticated("it is not known who asks"))?;
    Ok(digest(token))
}

/// The session in a request's cookies.
pub(crate) fn session(headers: &HeaderMap) -> Option<&str> {
    cookie_in(headers, COOKIE)
}

/// A cookie of a request.
fn cookie_in<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

fn unauthenticated(message: impl Into<String>) -> Fault {
    let hint = "Sign in with `patchwave login`, or show a token of yours as `Authorization: Bearer …`.";
    Fault::new(Code::Unauthenticated, message, hint)
}
