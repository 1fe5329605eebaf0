//! Users: who there is, what they may do, and their passwords.
//!
//! Owns the rule that an administrator is left. It is looked up in the projection, which is brought up to date before: two
//! gateways that take their rights from the last two administrators in the same moment can still leave none. Then whoever may
//! read the data directory of a gateway makes another, as at the very beginning.

use broker::AppendError;
use broker::sealing::Plain;
use events::envelope::{NewEvent, Recorded};
use events::id::UserId;
use events::rejection::Code;
use events::user::{self, Created, PasswordRef, Role, User, UserName};
use events::{Aggregate, AggregateKind, Event, subject};

use super::{Commands, Done, Request, now};
use crate::fault::Fault;
use crate::projection::Statement;

impl Commands {
    /// Makes the first administrator of all; only if there was never a user.
    pub(crate) async fn create_first_admin(&self, name: UserName, password: Plain) -> Result<Done, Fault> {
        let request = self.request("setup", None)?;
        let id = UserId::named(&name);
        let work = async {
            let password = Some(self.passwords.store(password).await?);
            let created = Created { name, role: Role::Admin, password, identity: None };
            let event = NewEvent {
                aggregate: Aggregate::User(id),
                event: Event::User(created.into()),
                time: now(),
                origin: request.origin(id.to_string()),
            };
            // Of several who try at once, in whatever gateways, the broker takes one.
            let filter = subject::every(AggregateKind::User, "created");
            match self.broker.append_first(&event, &filter).await {
                Ok(appended) => Ok(Done { id: id.to_string(), sequence: appended.sequence }),
                Err(AppendError::Conflict) => Err(Fault::new(
                    Code::AlreadyExists,
                    "there is a user already",
                    "Ask an administrator for an account; on the gateway's machine `patchwave user list` shows them.",
                )),
                Err(error) => Err(broker::DecideError::Append(error).into()),
            }
        };
        self.bounded(&request, work).await
    }

    /// Makes a user, who can sign in once there is a password.
    pub(crate) async fn create_user(
        &self,
        (name, role): (UserName, Role),
        password: Option<Plain>,
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let request = self.request("createUser", mutation_id)?;
        let work = async {
            let password = match password {
                Some(password) => Some(self.passwords.store(password).await?),
                None => None,
            };
            let command =
                user::Command::Create(Created { name: name.clone(), role, password, identity: None });
            self.change_user(&request, &name, command).await
        };
        self.bounded(&request, work).await
    }

    /// Gives a user another role.
    pub(crate) async fn set_user_role(
        &self,
        (name, role): (UserName, Role),
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let request = self.request("setUserRole", mutation_id)?;
        let work = async {
            if role < Role::Admin {
                self.check_another_admin(&name).await?;
            }
            self.change_user(&request, &name, user::Command::ChangeRole(role)).await
        };
        self.bounded(&request, work).await
    }

    /// Takes a user's rights away, and those of every token.
    pub(crate) async fn remove_user(&self, name: UserName, mutation_id: Option<&str>) -> Result<Done, Fault> {
        let request = self.request("removeUser", mutation_id)?;
        let work = async {
            self.check_another_admin(&name).await?;
            self.change_user(&request, &name, user::Command::Remove).await
        };
        self.bounded(&request, work).await
    }

    /// Gives a user another password. Whoever is no administrator gives the one before, so that a stolen token alone
    /// does not take a user over.
    pub(crate) async fn set_password(
        &self,
        name: UserName,
        (password, current): (Plain, Option<Plain>),
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        self.caller.check_for(name.as_str(), "setPassword")?;
        let request = self.request("setPassword", mutation_id)?;
        let work = async {
            if self.caller.role < Role::Admin {
                let known = self.user(&name).await?.password;
                self.check_current(known.as_ref(), current).await?;
            }
            let password = self.passwords.store(password).await?;
            self.change_user(&request, &name, user::Command::SetPassword(password)).await
        };
        self.bounded(&request, work).await
    }

    async fn check_current(&self, known: Option<&PasswordRef>, current: Option<Plain>) -> Result<(), Fault> {
        let hint = "Give it as `currentPassword`; an administrator can set another without it.";
        let refused = |message| Err(Fault::new(Code::InvalidPassword, message, hint));
        let Some(current) = current else { return refused("the current password is missing") };
        match self.passwords.verify(current, known).await? {
            true => Ok(()),
            false => refused("the current password is another one"),
        }
    }

    /// A user as the log has it.
    pub(super) async fn user(&self, name: &UserName) -> Result<User, Fault> {
        Ok(fold(&self.broker.history(&Aggregate::User(UserId::named(name))).await?))
    }

    pub(super) async fn change_user(
        &self,
        request: &Request<'_>,
        name: &UserName,
        command: user::Command,
    ) -> Result<Done, Fault> {
        let id = UserId::named(name);
        let (origin, aggregate) = (request.origin(id.to_string()), Aggregate::User(id));
        let decided = self.once(&origin, &aggregate, |history| {
            Ok(user::decide(&fold(history), command.clone())?.map(Event::User))
        });
        Ok(Done { id: id.to_string(), sequence: decided.await?.sequence })
    }

    /// Refuses to take the rights of the only administrator.
    pub(super) async fn check_another_admin(&self, name: &UserName) -> Result<(), Fault> {
        if self.user(name).await?.role != Some(Role::Admin) {
            return Ok(());
        }
        self.projection.reach(self.broker.last_sequence().await?).await?;
        let statement =
            Statement::new("SELECT id FROM users WHERE removed = 0 AND role = 'admin' AND name <> ");
        let others: Vec<(String,)> =
            self.projection.select(statement.text(name.as_str()).sql(" LIMIT 1")).await?;
        if others.is_empty() {
            let hint = "Make another user an administrator first: `patchwave user role NAME admin`.";
            return Err(Fault::new(Code::LastAdmin, format!("{name} is the last administrator"), hint));
        }
        Ok(())
    }
}

pub(super) fn fold(history: &[Recorded]) -> User {
    history.iter().fold(User::default(), |user, recorded| match &recorded.event {
        Event::User(event) => user::evolve(user, event),
        _ => user,
    })
}
