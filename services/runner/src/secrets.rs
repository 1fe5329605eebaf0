//! The secrets of an attempt: opened in memory, and nowhere else.
//!
//! Owns the values in the clear, and the mask that hides them. Invariant: a value leaves here only as a variable of a step that
//! lists it, or as the login for a registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use broker::sealing::{KeyPair, Plain};
use events::job::{Failure, FailureKind};
use events::secret::SecretName;
use events::ticket::Ticket;
use spec::{Definition, Registry, Step};

use crate::mask::Masker;
use crate::sandbox::Login;

/// What the steps of an attempt may use. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    /// Without a value: set, and nobody has the key that opens it.
    values: Arc<BTreeMap<SecretName, Option<Plain>>>,
    masker: Masker,
}

impl Secrets {
    /// Opens what a ticket holds.
    ///
    /// # Errors
    /// When it is not sealed to this start of this runner.
    pub(crate) fn open(key: &KeyPair, ticket: &Ticket) -> Result<Self> {
        let mut values = BTreeMap::new();
        for secret in &ticket.secrets {
            let name = &secret.secret.name;
            let open = |sealed| key.open(sealed, &ticket.secret_purpose(name));
            let value = secret.sealed.as_ref().map(open).transpose();
            values.insert(name.clone(), value.with_context(|| format!("the secret {name} of the ticket"))?);
        }
        let known = values.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?.reveal())));
        let masker = Masker::new(known)?;
        Ok(Self { values: Arc::new(values), masker })
    }

    /// Hides the values.
    pub(crate) fn masker(&self) -> &Masker {
        &self.masker
    }

    /// Whether the steps, and the registries of their images, can have all that they ask for.
    ///
    /// # Errors
    /// Which secret is missing and who asks for it, and what to do.
    pub(crate) fn check(&self, definition: &Definition) -> Result<(), Failure> {
        let steps = definition.steps.iter().zip(1..).flat_map(|(step, number)| {
            step.secrets.iter().map(move |name| (Some(number), format!("step {number}"), name))
        });
        let registries = definition.settings.registries.iter();
        let registries = registries.map(|one| (None, format!("the registry `{}`", one.host), &one.password));
        for (step, whose, name) in steps.chain(registries) {
            let (what, again) = match self.values.get(name) {
                Some(Some(_)) => continue,
                Some(None) => ("cannot be opened: the key that it was sealed to is gone", " again"),
                None => ("is not set", ""),
            };
            let message = format!("{whose} asks for the secret `{name}`, which {what}");
            let hint = format!("Set it{again} with `patchwave secret set {name}`, and run the action again.");
            return Err(failure(step, message, hint));
        }
        Ok(())
    }

    /// The logins for registries, which no step sees.
    pub(crate) fn logins(&self, registries: &[Registry]) -> Vec<Login> {
        let login = |registry: &Registry| {
            Some(Login {
                host: registry.host.clone(),
                username: registry.username.clone(),
                password: self.values.get(&registry.password)?.clone()?,
                secret: registry.password.clone(),
            })
        };
        registries.iter().filter_map(login).collect()
    }

    /// The variables of a step that are secrets.
    pub(crate) fn variables(&self, step: &Step) -> impl Iterator<Item = (String, String)> {
        step.secrets.iter().filter_map(|name| {
            let value = self.values.get(name)?.as_ref()?;
            Some((name.to_string(), value.reveal().to_owned()))
        })
    }
}

fn failure(step: Option<u32>, message: String, hint: String) -> Failure {
    Failure { kind: FailureKind::Secret, step, exit_code: None, limit: None, message, hint }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use broker::sealing::seal;
    use events::secret::{Scope, SecretVersion};
    use events::ticket::TicketSecret;

    use super::*;
    use crate::tests::ticket_for;

    fn ticket(key: &KeyPair, value: Option<&str>) -> Ticket {
        let mut ticket = ticket_for(2);
        let name: SecretName = "TOKEN".parse().unwrap();
        let purpose = ticket.secret_purpose(&name);
        let sealed =
            value.map(|value| seal(&Plain::new(value.to_owned()), &purpose, &key.public_key()).unwrap());
        let secret = SecretVersion { name, scope: Scope::Global, version: 1 };
        ticket.secrets.push(TicketSecret { secret, sealed });
        ticket
    }

    fn definition(env: &str) -> Definition {
        let text = format!(
            "name: n\nsteps: [{{ run: x, container: c, env: {env} }}]\n\
             changesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n"
        );
        crate::fixture::definition(&text)
    }

    #[test]
    fn a_step_gets_what_it_lists_and_nothing_else() {
        let key = KeyPair::generate();
        let secrets = Secrets::open(&key, &ticket(&key, Some("hunter22"))).unwrap();
        let variables = |env| secrets.variables(&definition(env).steps[0]).collect::<Vec<_>>();
        assert_eq!(variables("[TOKEN]"), [("TOKEN".to_owned(), "hunter22".to_owned())]);
        assert_eq!(variables("[{ OTHER: x }]"), []);
        assert!(secrets.check(&definition("[TOKEN]")).is_ok());
        assert_eq!(secrets.masker().text("it is hunter22"), "it is ***");
    }

    #[test]
    fn what_is_missing_is_named_with_its_step() {
        let key = KeyPair::generate();
        let missing = Secrets::default().check(&definition("[TOKEN]")).unwrap_err();
        assert_eq!((missing.kind, missing.step), (FailureKind::Secret, Some(1)));
        assert!(
            missing.message.contains("`TOKEN`, which is not set")
                && missing.hint.contains("secret set TOKEN")
        );
        let closed = Secrets::open(&key, &ticket(&key, None)).unwrap();
        assert!(closed.check(&definition("[TOKEN]")).unwrap_err().message.contains("cannot be opened"));
        assert!(closed.check(&definition("{}")).is_ok());
    }

    #[test]
    fn the_login_for_a_registry_is_no_variable_and_is_hidden() {
        let key = KeyPair::generate();
        let secrets = Secrets::open(&key, &ticket(&key, Some("hunter22"))).unwrap();
        let registries =
            "patchwave: { registries: [{ host: r.example.com, username: bot, password: TOKEN }] }";
        let text = format!(
            "name: n\nsteps: [{{ run: x, container: c }}]\n{registries}\n\
             changesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n"
        );
        let definition = crate::fixture::definition(&text);
        let logins = secrets.logins(&definition.settings.registries);
        assert_eq!((&*logins[0].username, logins[0].password.reveal()), ("bot", "hunter22"));
        assert_eq!(secrets.variables(&definition.steps[0]).count(), 0);
        assert_eq!(secrets.masker().text("hunter22"), "***");
        let missing = Secrets::default().check(&definition).unwrap_err();
        assert!(missing.message.contains("the registry `r.example.com` asks for the secret `TOKEN`"));
    }

    #[test]
    fn a_ticket_for_an_earlier_start_does_not_open() {
        let (earlier, now) = (KeyPair::generate(), KeyPair::generate());
        assert!(Secrets::open(&now, &ticket(&earlier, Some("hunter22"))).is_err());
        let mut other = ticket(&now, Some("hunter22"));
        other.attempt = 3;
        assert!(Secrets::open(&now, &other).is_err(), "sealed for another attempt");
    }
}
