//! Users and their tokens, as they come and go.

use events::blob::Sha256;
use events::id::{TokenId, UserId};
use events::token::{self, TokenKind};
use events::user::{self, Identity, PasswordRef, Role, UserName};
use events::{Aggregate, Event, Timestamp};

use super::History;

impl History {
    pub(super) fn user(&mut self) {
        let name: UserName = ["anna", "bob"][self.dice.roll(2)].parse().unwrap();
        let id = UserId::named(&name);
        let role = Role::ALL[self.dice.roll(3)];
        let subject = ["1", "2"][self.dice.roll(2)];
        let identity = Identity::new("https://id.example.org", subject).unwrap();
        let command = match self.dice.roll(10) {
            0 => user::Command::Remove,
            1..4 => user::Command::ChangeRole(role),
            4 => user::Command::SetPassword(PasswordRef { sha256: self.dice.digest(), size: 97 }),
            5 => user::Command::Link(identity),
            number => {
                let sha256 = self.dice.digest();
                let password = (number % 2 == 0).then_some(PasswordRef { sha256, size: 97 });
                user::Command::Create(user::Created {
                    name,
                    role,
                    password,
                    identity: (number % 3 == 0).then_some(identity),
                })
            }
        };
        let state = self.users.entry(id).or_default();
        if let Ok(Some(event)) = user::decide(state, command) {
            *state = user::evolve(std::mem::take(state), &event);
            self.record(Aggregate::User(id), Event::User(event), None);
        }
    }

    pub(super) fn token(&mut self) {
        let token_sha256 = Sha256::from_bytes(&[u8::try_from(self.dice.roll(4)).unwrap(); 32]);
        let id = TokenId::derived(&[token_sha256.as_str()]);
        let command = match self.dice.roll(3) {
            0 => token::Command::Revoke,
            hours => token::Command::Issue(token::Issued {
                user: ["anna", "bob"][self.dice.roll(2)].parse().unwrap(),
                name: "ci".to_owned(),
                kind: [TokenKind::Access, TokenKind::Session][self.dice.roll(2)],
                token_sha256,
                role: Role::ALL[self.dice.roll(3)],
                expires_at: Timestamp::from_timestamp(i64::try_from(hours).unwrap(), 0).unwrap(),
            }),
        };
        let state = self.tokens.entry(id).or_default();
        if let Ok(Some(event)) = token::decide(state, command) {
            *state = token::evolve(std::mem::take(state), &event);
            self.record(Aggregate::Token(id), Event::Token(event), None);
        }
    }
}
