//! The vault: opens the secrets of a ticket, and seals them anew to the one runner that gets it.
//!
//! Owns the private half of the site's sealing key, which is in a file of the scheduler's alone and in no stream. Never keeps a
//! value in the clear longer than it takes to seal it again, and writes none down. Invariant: what a ticket holds only its
//! runner can open, and only as that secret of that attempt.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use broker::sealing::{KeyPair, seal};
use events::id::{CommandId, RunnerId, SealingKeyId, SecretId};
use events::sealing_key::{self, SealingKey};
use events::secret::{self, Sealed, SecretVersion};
use events::ticket::{Ticket, TicketSecret};
use events::{Aggregate, Event};
use tokio::time::Instant;

use crate::facts::origin;
use crate::fold::Fold;
use crate::outside::{Broker, time};
use crate::service::Service;

/// The keys that open what is sealed to the site.
pub(crate) struct Vault {
    /// The first is the one to seal to; the others open what was sealed before it was there.
    keys: Vec<KeyPair>,
}

impl Vault {
    /// Reads the file with the keys, one private half a line, or makes it with a new key.
    ///
    /// # Errors
    /// When the file is not one of keys, others may read it, or it cannot be made.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return make(path).with_context(|| {
                    format!("the key that opens secrets cannot be written to {}", path.display())
                });
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("the key that opens secrets cannot be read from {}", path.display())
                });
            }
        };
        let mode = std::fs::metadata(path).context("the key that opens secrets")?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!(
                "{} holds the key that opens secrets, and others may read it: run `chmod 600` on it",
                path.display()
            );
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(KeyPair::from_seed).collect::<Result<Vec<_>, _>>();
        let keys = keys.with_context(|| format!("a line of {} is no private key", path.display()))?;
        if keys.is_empty() {
            bail!("{} holds no key: put the one back that was in it, or remove the file", path.display());
        }
        Ok(Self { keys })
    }

    /// Says in the log which key to seal to, unless it says so already.
    pub(crate) async fn announce(&self, broker: &Broker) -> Result<()> {
        let Some(key) = self.keys.first() else { return Ok(()) };
        let public_key = key.public_key();
        let aggregate = Aggregate::SealingKey(SealingKeyId::site());
        let known = broker.history(&aggregate).await.context("the site's sealing key")?;
        let newest = known.last().map_or(0, |recorded| recorded.sequence);
        let command = CommandId::derived(&["announce", &public_key, &newest.to_string()]);
        let origin = origin(command, "sealing_key".to_owned());
        let decided = broker.decide(&aggregate, &origin, time(), |history| {
            let state = history.iter().fold(SealingKey::default(), |state, recorded| match &recorded.event {
                Event::SealingKey(event) => sealing_key::evolve(state, event),
                _ => state,
            });
            let command = sealing_key::Command::Announce { public_key: public_key.clone() };
            Ok(sealing_key::decide(&state, command)?.map(Event::SealingKey))
        });
        let decided = decided.await.context("the site's sealing key cannot be announced")?;
        if decided.event.is_some() {
            tracing::info!(key = public_key, "secrets are sealed to this key from now on");
        }
        Ok(())
    }

    /// The secrets of a ticket, sealed to a runner. One that cannot be opened is there without its value: the job says so.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn seal(
        &self,
        (broker, fold): (&Broker, &Fold),
        ticket: &Ticket,
        versions: &[SecretVersion],
        recipient: Option<&str>,
    ) -> Result<Vec<TicketSecret>> {
        let mut secrets = Vec::with_capacity(versions.len());
        for version in versions {
            let known = match fold.sealed(version) {
                Some(sealed) => Some(sealed.clone()),
                None => find(broker, version).await?,
            };
            let sealed = known.zip(recipient).and_then(|(sealed, recipient)| {
                self.seal_again(&sealed, version, &ticket.secret_purpose(&version.name), recipient)
            });
            secrets.push(TicketSecret { secret: version.clone(), sealed });
        }
        Ok(secrets)
    }

    fn seal_again(
        &self,
        sealed: &Sealed,
        version: &SecretVersion,
        purpose: &str,
        recipient: &str,
    ) -> Option<Sealed> {
        let id = SecretId::of(&version.scope, &version.name).to_string();
        let key = self.keys.iter().find(|key| key.public_key() == sealed.recipient);
        let again = key
            .with_context(|| {
                format!("it is sealed to {}, of which the private half is not here", sealed.recipient)
            })
            .and_then(|key| Ok(key.open(sealed, &id)?))
            .and_then(|value| Ok(seal(&value, purpose, recipient)?));
        match again {
            Ok(sealed) => Some(sealed),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(secret = %version.name, version = version.version, error, "a secret cannot be opened");
                None
            }
        }
    }
}

impl Service {
    /// Puts the secrets into tickets. One whose secrets cannot be looked up is left for the next round.
    pub(crate) async fn with_secrets(
        &self,
        due: Vec<(RunnerId, Ticket)>,
        now: Instant,
    ) -> Vec<(RunnerId, Ticket)> {
        let mut ready = Vec::with_capacity(due.len());
        for (runner, mut ticket) in due {
            let tracked = self.fold.job(ticket.execution, ticket.job);
            let versions = tracked.map(|tracked| tracked.state.secrets.as_slice()).unwrap_or_default();
            if !versions.is_empty() {
                let mut living = self.leases.living(now);
                let beat = living.find(|(id, _)| **id == runner).map(|(_, beat)| beat);
                let recipient = beat.and_then(|beat| beat.sealing_key.as_deref());
                match self.vault.seal((&self.broker, &self.fold), &ticket, versions, recipient).await {
                    Ok(secrets) => ticket.secrets = secrets,
                    Err(error) => {
                        let error = format!("{error:#}");
                        tracing::warn!(job.id = %ticket.job, error, "a ticket cannot be sent yet");
                        continue;
                    }
                }
            }
            ready.push((runner, ticket));
        }
        ready
    }
}

/// The value of a version that is not the newest any more: it was set again between the assignment and the ticket.
async fn find(broker: &Broker, version: &SecretVersion) -> Result<Option<Sealed>> {
    let aggregate = Aggregate::Secret(SecretId::of(&version.scope, &version.name));
    let history = broker.history(&aggregate).await.context("an earlier value of a secret")?;
    Ok(history.into_iter().find_map(|recorded| match recorded.event {
        Event::Secret(secret::Event::Set(set)) if set.version == version.version => Some(set.sealed),
        _ => None,
    }))
}

/// Makes a file with a new key. It is on disk before anything is sealed to it.
fn make(path: &Path) -> Result<Vault> {
    let key = KeyPair::generate();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let next = path.with_extension("next");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(
        b"# What is sealed to this key cannot be read without it: keep a copy where nobody else reads it.\n",
    )?;
    file.write_all(key.seed()?.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    // Never over a key that somebody else has made meanwhile.
    std::fs::hard_link(&next, path)?;
    std::fs::remove_file(&next)?;
    File::open(folder)?.sync_all()?;
    Ok(Vault { keys: vec![key] })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use broker::sealing::Plain;
    use events::secret::Scope;

    use super::*;

    fn version() -> SecretVersion {
        SecretVersion { name: "TOKEN".parse().unwrap(), scope: Scope::Global, version: 3 }
    }

    fn sealed_to(key: &KeyPair) -> Sealed {
        let id = SecretId::of(&Scope::Global, &version().name).to_string();
        seal(&Plain::new("hunter22".to_owned()), &id, &key.public_key()).unwrap()
    }

    #[test]
    fn the_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/secrets.key");
        let first = Vault::open(&path).unwrap().keys[0].public_key();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Vault::open(&path).unwrap().keys[0].public_key(), first);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Vault::open(&path).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        for text in ["", "# none\n", "hunter22\n"] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = format!("{:#}", Vault::open(&path).err().unwrap());
            assert!(!error.contains("hunter22"), "a line of the file is not repeated: {error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn an_earlier_key_opens_what_was_sealed_to_it() {
        let (old, new, runner) = (KeyPair::generate(), KeyPair::generate(), KeyPair::generate());
        let sealed = sealed_to(&old);
        let both = Vault { keys: vec![new.clone(), old] };
        let again = both.seal_again(&sealed, &version(), "a ticket", &runner.public_key()).unwrap();
        assert_eq!(runner.open(&again, "a ticket").unwrap().reveal(), "hunter22");
        let without = Vault { keys: vec![new] };
        assert!(without.seal_again(&sealed, &version(), "a ticket", &runner.public_key()).is_none());
    }

    #[test]
    fn a_value_of_another_secret_does_not_open_as_this_one() {
        let key = KeyPair::generate();
        let other = seal(&Plain::new("hunter22".to_owned()), "secret_other", &key.public_key()).unwrap();
        let vault = Vault { keys: vec![key.clone()] };
        assert!(vault.seal_again(&other, &version(), "a ticket", &key.public_key()).is_none());
    }
}
