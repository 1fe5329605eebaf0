//! Passwords: hashed slowly, kept where only the gateway can read them, and checked.
//!
//! Owns argon2id with the parameters that OWASP names (19 MiB, two passes, one lane), and how many are hashed at once.
//! Invariant: a check takes as long for a name that nobody has as for one that somebody has.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use broker::sealing::Plain;
use broker::{BlobError, Broker};
use events::blob::{BlobKind, Sha256};
use events::rejection::Code;
use events::user::PasswordRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fault::Fault;

/// The fewest characters and the most bytes of a password.
pub(crate) const MIN_CHARACTERS: usize = 12;
const MAX_BYTES: usize = 1_024;

/// How many may be hashed at once: each takes 19 MiB and a processor.
const AT_ONCE: usize = 2;

/// How long a check may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The hash of nobody's password: 256 bits that no password is known to give.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyBpdCEhIQ$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and checks passwords. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    broker: Broker,
    room: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Stores the hash of a password. Whoever dies after that leaves a blob that no event names.
    pub(crate) async fn store(&self, password: Plain) -> Result<PasswordRef, Fault> {
        check(&password)?;
        let permit = self.turn().await?;
        let hash = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            hash(&password)
        });
        let hash = hash.await.map_err(Fault::ours)?.map_err(Fault::ours)?;
        Ok(self.broker.put_blob(BlobKind::Password, hash.as_bytes()).await?.into())
    }

    /// Whether this is the password whose hash is there; nobody's is checked just as long.
    pub(crate) async fn verify(&self, password: Plain, known: Option<&PasswordRef>) -> Result<bool, Fault> {
        let nobody = PasswordRef { sha256: Sha256::from_bytes(&[0; 32]), size: 97 };
        let hash = match self.broker.get_blob(&known.unwrap_or(&nobody).blob()).await {
            Ok(bytes) => String::from_utf8(bytes).map_err(Fault::ours)?,
            // Of a hash that is lost, no password is the right one.
            Err(BlobError::Missing(_)) => NOBODY.to_owned(),
            Err(error) => return Err(error.into()),
        };
        let permit = self.turn().await?;
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            if password.reveal().len() > MAX_BYTES {
                return Ok(false);
            }
            let hash = PasswordHash::new(&hash)?;
            Ok(Argon2::default().verify_password(password.reveal().as_bytes(), &hash).is_ok())
        });
        let checked: Result<bool, argon2::password_hash::Error> = checked.await.map_err(Fault::ours)?;
        checked
            .map_err(|error| Fault::ours(anyhow::anyhow!("the hash of a password cannot be read: {error}")))
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let turn = tokio::time::timeout(PATIENCE, self.room.clone().acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            Fault::new(Code::Busy, "too many passwords are being checked", "Try again in a moment.")
        })
    }
}

fn hash(password: &Plain) -> anyhow::Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let wrong = |error: argon2::password_hash::Error| anyhow::anyhow!("a password cannot be hashed: {error}");
    let params = Params::new(19 * 1_024, 2, 1, None).map_err(|error| wrong(error.into()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::encode_b64(&salt).map_err(wrong)?;
    Ok(argon2.hash_password(password.reveal().as_bytes(), &salt).map_err(wrong)?.to_string())
}

/// What a password must be. Never repeats any of it.
fn check(password: &Plain) -> Result<(), Fault> {
    let refused = |message: String, hint: &str| Err(Fault::new(Code::InvalidPassword, message, hint));
    let characters = password.reveal().chars().count();
    if characters < MIN_CHARACTERS {
        return refused(
            format!("the password has {characters} characters, {MIN_CHARACTERS} are the fewest"),
            "Take a sentence, or let a password manager make one.",
        );
    }
    let bytes = password.reveal().len();
    if bytes > MAX_BYTES {
        return refused(
            format!("the password has {bytes} bytes, {MAX_BYTES} are the most"),
            "Take a shorter one.",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn a_hash_says_how_it_was_made_and_nobodys_is_read_alike() {
        let hash = hash(&Plain::new("correct horse battery".to_owned())).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        for (hash, password, right) in [
            (hash.as_str(), "correct horse battery", true),
            (&hash, "correct horse", false),
            (NOBODY, "", false),
        ] {
            let hash = PasswordHash::new(hash).unwrap();
            let verified = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
            assert_eq!(verified, right, "{password}");
        }
    }

    #[test]
    fn a_password_is_long_enough() {
        let checked = |text: &str| check(&Plain::new(text.to_owned())).is_ok();
        assert!(
            checked("twelve chars")
                && checked("\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}")
        );
        assert!(!checked("eleven char") && !checked("") && !checked(&"x".repeat(1_025)));
    }
}
