//! Secrets: a value is sealed here, before anything else knows of it.
//!
//! Owns what a value may be. Never stores, logs or answers with a value in the clear, and cannot open a sealed one: the key for
//! that is the scheduler's.

use std::collections::BTreeSet;

use broker::sealing::{Plain, seal};
use events::envelope::Recorded;
use events::id::{ActionId, SealingKeyId, SecretId};
use events::rejection::Code;
use events::sealing_key::{self, SealingKey};
use events::secret::{self, MAX_BYTES, MIN_BYTES, Scope, Secret, SecretName, SecretVersion, Set};
use events::{Aggregate, Event};

use super::{Commands, Done, Request};
use crate::fault::Fault;

/// Which secret.
#[derive(Clone, Debug)]
pub(crate) struct Which {
    /// The name.
    pub(crate) name: SecretName,
    /// Whose steps may ask for it.
    pub(crate) scope: Scope,
}

impl Which {
    fn id(&self) -> SecretId {
        SecretId::of(&self.scope, &self.name)
    }
}

impl Commands {
    /// Gives a secret a value.
    pub(crate) async fn set_secret(
        &self,
        which: Which,
        value: Plain,
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let request = self.request("setSecret", mutation_id)?;
        check(&value)?;
        let work = async {
            if let Scope::Action { action } = which.scope {
                self.check_action(action).await?;
            }
            let recipient = self.sealing_key().await?;
            let sealed = seal(&value, &which.id().to_string(), &recipient)
                .map_err(anyhow::Error::from)
                .map_err(Fault::ours)?;
            let Which { name, scope } = which.clone();
            self.change_secret(&request, &which, secret::Command::Set { name, scope, sealed }).await
        };
        self.bounded(&request, work).await
    }

    /// Takes a secret's value away.
    pub(crate) async fn delete_secret(&self, which: Which, mutation_id: Option<&str>) -> Result<Done, Fault> {
        let request = self.request("deleteSecret", mutation_id)?;
        let work = async { self.change_secret(&request, &which, secret::Command::Delete).await };
        self.bounded(&request, work).await
    }

    async fn change_secret(
        &self,
        request: &Request<'_>,
        which: &Which,
        command: secret::Command,
    ) -> Result<Done, Fault> {
        let id = which.id();
        let aggregate = Aggregate::Secret(id);
        let origin = request.origin(id.to_string());
        let decided = self.once(&origin, &aggregate, |history| {
            Ok(secret::decide(&fold(history), command.clone())?.map(Event::Secret))
        });
        Ok(Done { id: id.to_string(), sequence: decided.await?.sequence })
    }

    /// Refuses to run an action whose steps ask for what nobody has set.
    pub(super) async fn check_secrets(
        &self,
        (action, action_name): (ActionId, &str),
        names: BTreeSet<&SecretName>,
    ) -> Result<(), Fault> {
        let mut missing = Vec::new();
        for name in names {
            if self.set_version(action, name).await?.is_none() {
                missing.push(name.as_str());
            }
        }
        let Some(first) = missing.first() else { return Ok(()) };
        let list = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let message = match missing.len() {
            1 => format!("the definition asks for the secret {list}, which is not set"),
            _ => format!("the definition asks for the secrets {list}, which are not set"),
        };
        let hint = format!(
            "Set it with `patchwave secret set {first}`, or with `--action {action_name}` for this action alone."
        );
        Err(Fault::new(Code::SecretNotSet, message, hint).detail("secrets", missing))
    }

    /// Which value of a secret the steps of an action get; none if it is not set.
    pub(super) async fn set_version(
        &self,
        action: ActionId,
        name: &SecretName,
    ) -> Result<Option<SecretVersion>, Fault> {
        for scope in Scope::of(action) {
            let history = self.broker.history(&Aggregate::Secret(SecretId::of(&scope, name))).await?;
            if let Some(Set { name, scope, version, .. }) = fold(&history).set {
                return Ok(Some(SecretVersion { name, scope, version }));
            }
        }
        Ok(None)
    }

    async fn check_action(&self, action: ActionId) -> Result<(), Fault> {
        if self.broker.history(&Aggregate::Action(action)).await?.is_empty() {
            let hint = "`patchwave action list` shows the actions there are; apply the definition first.";
            return Err(Fault::new(Code::NotFound, format!("there is no action {action}"), hint));
        }
        Ok(())
    }

    /// The key to seal to, from the log: whoever has its private half announced it there.
    async fn sealing_key(&self) -> Result<String, Fault> {
        let history = self.broker.history(&Aggregate::SealingKey(SealingKeyId::site())).await?;
        let key = history.iter().fold(SealingKey::default(), |key, recorded| match &recorded.event {
            Event::SealingKey(event) => sealing_key::evolve(key, event),
            _ => key,
        });
        key.public_key.ok_or_else(|| {
            Fault::new(
                Code::NoSealingKey,
                "no scheduler has announced a key to seal secrets to",
                "Start the scheduler once (`patchwave up`, or `patchwave scheduler`), and set the secret then.",
            )
        })
    }
}

fn fold(history: &[Recorded]) -> Secret {
    history.iter().fold(Secret::default(), |secret, recorded| match &recorded.event {
        Event::Secret(event) => secret::evolve(secret, event),
        _ => secret,
    })
}

/// What a value must be to be hidden in logs and passed as a variable. Never repeats any of it.
fn check(value: &Plain) -> Result<(), Fault> {
    let bytes = value.reveal().len();
    let refused = |message: String, hint: &str| Err(Fault::new(Code::InvalidSecret, message, hint));
    if bytes < MIN_BYTES {
        return refused(
            format!("the value has {bytes} bytes, {MIN_BYTES} are the fewest"),
            "So short a text stands in every log by chance and cannot be hidden: write it in the definition's `env`.",
        );
    }
    if bytes > MAX_BYTES {
        return refused(
            format!("the value has {bytes} bytes, {MAX_BYTES} are the most"),
            "Keep a key to the data as the secret, and let the step fetch the data.",
        );
    }
    if value.reveal().contains('\0') {
        return refused(
            "the value holds a zero byte, which no variable can".to_owned(),
            "Encode it, in base64 say, and let the step decode it.",
        );
    }
    Ok(())
}
