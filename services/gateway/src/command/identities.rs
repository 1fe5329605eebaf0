//! Identities: whoever a provider sends becomes a user, or is one.
//!
//! Owns the rule that a person is known by issuer and subject, never by a name: a name that somebody has is not given to
//! whoever has the same one at the provider by now, unless an administrator says that they are the same. Never talks to
//! the provider. Two sign-ins of the same moment, by one person whose name changes between them, can make two users; the
//! older is whom the next sign-in finds.

use events::envelope::{Actor, Recorded};
use events::id::UserId;
use events::rejection::Code;
use events::user::{self, Created, Identity, Role, User, UserName};
use events::{Aggregate, Event, Rejection};

use super::users::fold;
use super::{Commands, Done, NewUserToken, Request};
use crate::fault::Fault;
use crate::projection::Statement;

/// In whose name users are made whom nobody made: the provider and the rules that the gateway was started with.
const MAKER: &str = "gateway";

/// Whom a provider vouches for.
#[derive(Debug)]
pub(crate) struct Person {
    /// Who they are, for ever.
    pub(crate) identity: Identity,
    /// What they are called by now, or why that is no name here. Only somebody who is new needs one.
    pub(crate) name: Result<UserName, Fault>,
    /// What the rules give them; nothing: they may not come in.
    pub(crate) role: Option<Role>,
    /// Whether the provider decides about the role each time, or an administrator once they are known.
    pub(crate) follows: bool,
}

impl Commands {
    /// Makes a session of somebody whom the provider vouches for, and first the user, if they are new.
    ///
    /// # Errors
    /// [`Code::Forbidden`] where they were removed, or the rules give them no role; [`Code::NotLinked`] where their name is
    /// somebody else's.
    pub(crate) async fn sign_in_person(&self, person: Person) -> Result<NewUserToken, Fault> {
        let request = by(Actor::service(MAKER));
        let work = async {
            // What other gateways did just now counts.
            self.projection.reach(self.broker.last_sequence().await?).await?;
            let (name, role) = match self.known_as(&person.identity, None).await? {
                Some(name) => self.welcome_back(&request, &person, name).await?,
                None => self.welcome(&request, person).await?,
            };
            let request = by(Actor::user(name.as_str()));
            self.open_session(&request, name, role).await
        };
        self.bounded(&request, work).await
    }

    /// Lets whoever the provider knows so sign in as a user, and nobody else whom it knows.
    pub(crate) async fn link_user(
        &self,
        (name, identity): (UserName, Identity),
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let request = self.request("linkUser", mutation_id)?;
        let work = async {
            self.projection.reach(self.broker.last_sequence().await?).await?;
            if let Some(other) = self.known_as(&identity, Some(&name)).await?
                && self.user(&other).await?.role.is_some()
            {
                return Err(Fault::new(
                    Code::AlreadyExists,
                    format!("whoever has this subject is {other} already"),
                    "A person is one user: remove the other one first, or keep to it.",
                ));
            }
            self.change_user(&request, &name, user::Command::Link(identity)).await
        };
        self.bounded(&request, work).await
    }

    /// Which user an identity is by the projection, one who is left before one who was removed; another than this one.
    async fn known_as(&self, identity: &Identity, but: Option<&UserName>) -> Result<Option<UserName>, Fault> {
        let statement = Statement::new("SELECT name FROM users WHERE issuer = ").text(&identity.issuer);
        let statement = statement.sql(" AND subject = ").text(&identity.subject).sql(" AND name <> ");
        let statement = statement.text(but.map_or("", UserName::as_str));
        let statement = statement.sql(" ORDER BY removed, created_at, name LIMIT 1");
        let found: Option<(String,)> = self.projection.select(statement).await?.pop();
        found.map(|(name,)| name.parse().map_err(Fault::ours)).transpose()
    }

    /// Somebody who was here before.
    async fn welcome_back(
        &self,
        request: &Request<'_>,
        person: &Person,
        name: UserName,
    ) -> Result<(UserName, Role), Fault> {
        let user = self.user(&name).await?;
        let Some(before) = user.role else {
            let hint = "What is removed is so for ever. An administrator can make another user and link it.";
            return Err(Fault::new(Code::Forbidden, format!("{name} was removed"), hint));
        };
        if user.identity.as_ref() != Some(&person.identity) {
            return Err(not_linked(&name, &person.identity));
        }
        if !person.follows {
            return Ok((name, before));
        }
        let role = person.role.ok_or_else(|| no_role(name.as_str()))?;
        if role == before {
            return Ok((name, role));
        }
        if role < Role::Admin
            && let Err(fault) = self.check_another_admin(&name).await
        {
            let Fault::Rejected { rejection: Rejection { code: Code::LastAdmin, .. }, .. } = &fault else {
                return Err(fault);
            };
            tracing::warn!(
                user = name.as_str(),
                role = role.as_str(),
                "the last administrator stays one, whatever role the provider gives; make another one first"
            );
            return Ok((name, before));
        }
        self.change_user(request, &name, user::Command::ChangeRole(role)).await?;
        Ok((name, role))
    }

    /// Somebody who is new.
    async fn welcome(&self, request: &Request<'_>, person: Person) -> Result<(UserName, Role), Fault> {
        let name = person.name?;
        let role = person.role.ok_or_else(|| no_role(name.as_str()))?;
        if role < Role::Admin && self.nobody_yet().await? {
            let hint =
                "Open the link of the gateway's log, which makes the first administrator, and come again.";
            return Err(Fault::new(Code::Forbidden, "there is no administrator yet", hint));
        }
        let id = UserId::named(&name);
        let (origin, aggregate) = (request.origin(id.to_string()), Aggregate::User(id));
        let created =
            Created { name: name.clone(), role, password: None, identity: Some(person.identity.clone()) };
        let mut there = User::default();
        let decide = |history: &[Recorded]| {
            there = fold(history);
            match there.role {
                // It may be them, in another window.
                Some(_) => Ok(None),
                None => Ok(user::decide(&there, user::Command::Create(created.clone()))?.map(Event::User)),
            }
        };
        self.once(&origin, &aggregate, decide).await?;
        match there.role {
            None => Ok((name, role)),
            Some(role) if there.identity.as_ref() == Some(&person.identity) => Ok((name, role)),
            Some(_) => Err(not_linked(&name, &person.identity)),
        }
    }

    async fn nobody_yet(&self) -> Result<bool, Fault> {
        let any: Vec<(String,)> =
            self.projection.select(Statement::new("SELECT id FROM users LIMIT 1")).await?;
        Ok(any.is_empty())
    }
}

/// A request that nobody sends twice.
const fn by(actor: Actor) -> Request<'static> {
    Request { mutation: "signIn", mutation_id: None, actor }
}

fn no_role(name: &str) -> Fault {
    let hint = "Ask whoever runs Patchwave: `--oidc-role` and `--oidc-default-role` say who may come in.";
    Fault::new(
        Code::Forbidden,
        format!("the provider knows {name}, and nothing gives them a role here"),
        hint,
    )
}

fn not_linked(name: &UserName, Identity { issuer, subject }: &Identity) -> Fault {
    Fault::new(
        Code::NotLinked,
        format!("there is a user {name} already, and it is not known that you are the same person"),
        format!(
            "If you are, an administrator links you: `patchwave user link {name} --issuer {} --subject {}`.",
            quoted(issuer),
            quoted(subject)
        ),
    )
}

/// A word of a command, as a shell takes it for what it is.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte);
    if !word.is_empty() && !word.starts_with('-') && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn what_a_provider_says_becomes_one_word_of_a_command() {
        assert_eq!(quoted("https://id.example.org"), "https://id.example.org");
        assert_eq!(quoted("auth0|248289761001"), "'auth0|248289761001'");
        assert_eq!(quoted("$(reboot) '; reboot"), "'$(reboot) '\\''; reboot'");
        assert_eq!(quoted("-x"), "'-x'");
    }
}
