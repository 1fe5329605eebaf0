//! Tokens: made, shown once and revoked; and the ones that come of signing in.
//!
//! Owns how long one is worth something. A token is made by somebody who signed in, never by another token: whoever steals
//! one cannot make it outlive its end.

use broker::sealing::Plain;
use chrono::Duration;
use events::blob::Sha256;
use events::envelope::Recorded;
use events::id::TokenId;
use events::rejection::Code;
use events::token::{self, Issued, TokenKind};
use events::user::{LOCAL, Role, UserName};
use events::{Aggregate, Event, Timestamp};

use super::create_execution::another_request;
use super::{Commands, Done, Request, now};
use crate::access::{Token, Via};
use crate::fault::Fault;

/// How long somebody stays signed in.
const SESSION: Duration = Duration::hours(12);

/// The most days of an access token.
const MAX_DAYS: i32 = 366;

/// The longest name of a token.
const NAME_CHARACTERS: usize = 100;

/// What a token is to be for.
#[derive(Debug)]
pub(crate) struct TokenWanted {
    /// What its user calls it.
    pub(crate) name: String,
    /// Whose it is; absent: whoever asks.
    pub(crate) user: Option<UserName>,
    /// The most that it may do; absent: what whoever asks may do.
    pub(crate) role: Option<Role>,
    /// For how many days.
    pub(crate) days: i32,
}

/// A token, which is shown once.
#[derive(Debug)]
pub(crate) struct NewToken {
    /// The whole of it, which is worth nothing unless it is new.
    pub(crate) token: Token,
    /// Whether this request made it, and not the same one before.
    pub(crate) is_new: bool,
    /// Where it is, and stands in the log.
    pub(crate) done: Done,
    /// Whose it is.
    pub(crate) user: UserName,
    /// Until when it is worth something.
    pub(crate) expires_at: Timestamp,
}

impl Commands {
    /// Makes an access token. Repeated, it tells of the token that was made, but cannot show it again.
    pub(crate) async fn create_token(
        &self,
        wanted: TokenWanted,
        mutation_id: Option<&str>,
    ) -> Result<NewToken, Fault> {
        let TokenWanted { name, user, role, days } = wanted;
        let user = match user {
            Some(user) => user,
            None => self.own_name()?,
        };
        self.caller.check_for(user.as_str(), "createToken")?;
        if matches!(self.caller.via, Via::Token(TokenKind::Access, _)) {
            let hint = "Sign in for that: `patchwave login`.";
            return Err(Fault::new(Code::Forbidden, "a token makes no other tokens", hint));
        }
        if !(1..=MAX_DAYS).contains(&days) {
            let hint = format!("Give 1 to {MAX_DAYS} days.");
            return Err(Fault::invalid(format!("a token cannot be good for {days} days"), hint));
        }
        if name.trim().is_empty() || name.chars().count() > NAME_CHARACTERS || name.contains(char::is_control)
        {
            let hint =
                format!("Say in 1 to {NAME_CHARACTERS} characters what it is for, `nightly build` say.");
            return Err(Fault::invalid("the token's name is none", hint));
        }
        let role = role.unwrap_or(self.caller.role);
        if role > self.caller.role {
            let message =
                format!("a token of the role {role} needs that role; here it is {}", self.caller.role);
            return Err(Fault::new(Code::Forbidden, message, "Ask for a token that may do less."));
        }
        if self.user(&user).await?.role.is_none() {
            let hint = "`patchwave user list` shows the users there are.";
            return Err(Fault::new(Code::NotFound, format!("there is no user `{user}`"), hint));
        }
        let request = self.request("createToken", mutation_id)?;
        let wanted = Wanted { user, name, kind: TokenKind::Access, role, lasts: Duration::days(days.into()) };
        self.bounded(&request, self.issue(&request, wanted)).await
    }

    /// Makes a session of whoever knows the password; nothing: the name or the password is another one.
    pub(crate) async fn sign_in(&self, password: Plain) -> Result<Option<(NewToken, Role)>, Fault> {
        let request = self.request("signIn", None)?;
        let work = async {
            // The log is asked, not the projection: a password that was changed is worth nothing from then on.
            let user = match self.caller.name.parse::<UserName>() {
                Ok(name) => Some((self.user(&name).await?, name)),
                Err(_) => None,
            };
            let known = user.as_ref().and_then(|(user, _)| user.password.as_ref());
            let right = self.passwords.verify(password, known).await?;
            let Some((Some(role), name)) = user.map(|(user, name)| (user.role, name)).filter(|_| right)
            else {
                return Ok(None);
            };
            Ok(Some((self.open_session(&request, name, role).await?, role)))
        };
        self.bounded(&request, work).await
    }

    /// Makes a session of a user of whom it is known who they are.
    pub(super) async fn open_session(
        &self,
        request: &Request<'_>,
        user: UserName,
        role: Role,
    ) -> Result<NewToken, Fault> {
        let (kind, lasts) = (TokenKind::Session, SESSION);
        self.issue(request, Wanted { user, name: "signed in".to_owned(), kind, role, lasts }).await
    }

    /// Makes a session of a terminal, for whoever asks in their browser. However often they do, it is one.
    pub(crate) async fn sign_in_terminal(&self, token_sha256: Sha256) -> Result<Done, Fault> {
        let user = self.own_name()?;
        let again = token_sha256.to_string();
        let request = self.request("signInTerminal", Some(&again))?;
        let (name, kind) = ("signed in at a terminal".to_owned(), TokenKind::Session);
        let wanted = Wanted { user, name, kind, role: self.caller.role, lasts: SESSION };
        let (done, _) = self.bounded(&request, self.register(&request, wanted, token_sha256)).await?;
        Ok(done)
    }

    /// Takes a token's worth away.
    pub(crate) async fn revoke_token(&self, id: TokenId, mutation_id: Option<&str>) -> Result<Done, Fault> {
        let request = self.request("revokeToken", mutation_id)?;
        let work = async {
            let issued = fold(&self.broker.history(&Aggregate::Token(id)).await?).issued;
            // Whoever may not revoke it is not told whether there is one.
            let owner = issued.as_ref().map_or("", |issued| issued.user.as_str());
            self.caller.check_for(owner, "revokeToken")?;
            let (origin, aggregate) = (request.origin(id.to_string()), Aggregate::Token(id));
            let decided = self.once(&origin, &aggregate, |history| {
                Ok(token::decide(&fold(history), token::Command::Revoke)?.map(Event::Token))
            });
            Ok(Done { id: id.to_string(), sequence: decided.await?.sequence })
        };
        self.bounded(&request, work).await
    }

    /// Whoever asks, as a user.
    pub(crate) fn own_name(&self) -> Result<UserName, Fault> {
        self.caller.name.parse().map_err(|_| {
            let message = format!("`{LOCAL}` is whoever may read the data directory, and no user");
            Fault::invalid(message, "Name a user: `--user NAME`.")
        })
    }

    async fn issue(&self, request: &Request<'_>, wanted: Wanted) -> Result<NewToken, Fault> {
        let token = Token::random().map_err(Fault::ours)?;
        let token_sha256 = token.sha256();
        let (done, issued) = self.register(request, wanted, token_sha256.clone()).await?;
        let is_new = issued.token_sha256 == token_sha256;
        Ok(NewToken { token, is_new, done, user: issued.user, expires_at: issued.expires_at })
    }

    /// Lets whoever shows the token with this digest act as its user. Says what stands: of a request that is repeated, what
    /// came of it first.
    async fn register(
        &self,
        request: &Request<'_>,
        wanted: Wanted,
        token_sha256: Sha256,
    ) -> Result<(Done, Issued), Fault> {
        let Wanted { user, name, kind, role, lasts } = wanted;
        let command = request.command();
        let (id, expires_at) = (TokenId::made_by(command), now() + lasts);
        let wanted = Issued { user, name, kind, token_sha256, role, expires_at };
        let (origin, aggregate) = (request.origin_of(command, id.to_string()), Aggregate::Token(id));
        let decided = self.once(&origin, &aggregate, |history| {
            Ok(token::decide(&fold(history), token::Command::Issue(wanted.clone()))?.map(Event::Token))
        });
        let decided = decided.await?;
        let issued = match decided.event {
            Some(Event::Token(token::Event::Issued(issued))) => issued,
            _ => wanted.clone(),
        };
        let done = Done { id: id.to_string(), sequence: decided.sequence };
        let what = |issued: &Issued| (issued.user.clone(), issued.name.clone(), issued.role);
        if what(&issued) != what(&wanted) {
            return Err(another_request(&done.id).into());
        }
        Ok((done, issued))
    }
}

struct Wanted {
    user: UserName,
    name: String,
    kind: TokenKind,
    role: Role,
    lasts: Duration,
}

fn fold(history: &[Recorded]) -> token::Token {
    history.iter().fold(token::Token::default(), |token, recorded| match &recorded.event {
        Event::Token(event) => token::evolve(token, event),
        _ => token,
    })
}
