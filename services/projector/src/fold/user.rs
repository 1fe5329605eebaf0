//! What the events of users and their tokens do to the rows.
//!
//! Owns two tables that are joined at each request: what a token is worth depends on its user, so that neither event need
//! change the other's rows.

use events::envelope::Recorded;
use events::id::{TokenId, UserId};
use events::{token, user};

use super::Fold;
use crate::columns::Word;
use crate::rows::{Token, Total, User};

impl Fold {
    pub(super) fn user(&mut self, recorded: &Recorded, id: UserId, event: &user::Event) {
        if let user::Event::Created(created) = event {
            self.users.put(User {
                id,
                name: created.name.to_string(),
                role: Word::Borrowed(created.role.as_str()),
                removed: false,
                actor: recorded.actor.to_string(),
                created_at: recorded.time,
                password_set_at: created.password.is_some().then_some(recorded.time),
                issuer: created.identity.as_ref().map(|identity| identity.issuer.clone()),
                subject: created.identity.as_ref().map(|identity| identity.subject.clone()),
            });
            self.tally(Total::USERS, 1);
            return;
        }
        let Some(row) = self.users.change(&(id,)) else { return };
        match event {
            user::Event::Created(_) => {}
            user::Event::RoleChanged(changed) => row.role = Word::Borrowed(changed.role.as_str()),
            user::Event::PasswordSet(_) => row.password_set_at = Some(recorded.time),
            user::Event::Linked(user::Linked { identity }) => {
                row.issuer = Some(identity.issuer.clone());
                row.subject = Some(identity.subject.clone());
            }
            user::Event::Removed(user::Removed {}) => {
                row.removed = true;
                self.tally(Total::USERS, -1);
            }
        }
    }

    pub(super) fn token(&mut self, recorded: &Recorded, id: TokenId, event: &token::Event) {
        match event {
            token::Event::Issued(issued) => self.tokens.put(Token {
                id,
                user_id: UserId::named(&issued.user),
                name: issued.name.clone(),
                kind: Word::Borrowed(issued.kind.as_str()),
                token_sha256: issued.token_sha256.to_string(),
                role: Word::Borrowed(issued.role.as_str()),
                issued_at: recorded.time,
                expires_at: issued.expires_at,
                revoked_at: None,
            }),
            token::Event::Revoked(token::Revoked {}) => {
                if let Some(row) = self.tokens.change(&(id,)) {
                    row.revoked_at = Some(recorded.time);
                }
            }
        }
    }
}
