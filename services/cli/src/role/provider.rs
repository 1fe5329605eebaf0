//! Options of signing in elsewhere, for whoever runs the gateway.
//!
//! Owns that they fit together, and that the client's secret is in no list of processes.

use std::path::PathBuf;

use ::gateway::{Plain, ProviderConfig, ProviderRules, PublicUrl};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use events::user::Role;

/// What holds the client's secret where no file does.
const SECRET: &str = "PATCHWAVE_OIDC_CLIENT_SECRET";

/// Where people reach the gateway, and where they sign in without a password.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProviderOptions {
    /// Where people reach the gateway, through a proxy say: https://patchwave.example.org
    #[arg(long, value_name = "URL", env = "PATCHWAVE_PUBLIC_URL", hide_env_values = true)]
    public_url: Option<PublicUrl>,

    /// The OpenID Connect provider that people sign in with, exactly as it calls itself
    #[arg(
        long,
        value_name = "URL",
        env = "PATCHWAVE_OIDC_ISSUER",
        hide_env_values = true,
        requires_all = ["public_url", "oidc_client_id"]
    )]
    oidc_issuer: Option<String>,

    /// What the provider calls this Patchwave
    #[arg(
        long,
        value_name = "ID",
        env = "PATCHWAVE_OIDC_CLIENT_ID",
        hide_env_values = true,
        requires = "oidc_issuer"
    )]
    oidc_client_id: Option<String>,

    /// The file with the client's secret [default: the variable PATCHWAVE_OIDC_CLIENT_SECRET]
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    oidc_client_secret_file: Option<PathBuf>,

    /// The claim that names somebody new: email (once verified), preferred_username, sub, …
    #[arg(long, value_name = "CLAIM", default_value = "email")]
    oidc_name_claim: String,

    /// The claim that decides about the role at each sign-in, `groups` say
    #[arg(long, value_name = "CLAIM", requires_all = ["oidc_issuer", "oidc_role"])]
    oidc_role_claim: Option<String>,

    /// What a value of that claim gives; of several the highest counts
    #[arg(long, value_name = "VALUE=ROLE", value_parser = role_rule, requires = "oidc_role_claim")]
    oidc_role: Vec<(String, Role)>,

    /// What those get to whom nothing gives a role
    #[arg(long, value_name = "ROLE", value_enum, default_value_t)]
    oidc_default_role: DefaultRole,

    /// A scope to ask for beside openid and that of the name
    #[arg(long, value_name = "SCOPE", requires = "oidc_issuer")]
    oidc_scope: Vec<String>,
}

/// What those get to whom nothing gives a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DefaultRole {
    /// They may see everything
    Viewer,
    /// They may not come in
    #[default]
    None,
}

impl ProviderOptions {
    /// Where people reach the gateway.
    pub(super) fn public_url(&self) -> Option<PublicUrl> {
        self.public_url.clone()
    }

    /// What is set about the provider.
    ///
    /// # Errors
    /// When that cannot work.
    pub(super) fn config(&self) -> anyhow::Result<Option<ProviderConfig>> {
        let (Some(issuer), Some(client_id), Some(public_url)) =
            (&self.oidc_issuer, &self.oidc_client_id, &self.public_url)
        else {
            return Ok(None);
        };
        let config = ProviderConfig {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            client_secret: self.secret()?,
            scopes: self.oidc_scope.clone(),
            rules: ProviderRules {
                name_claim: self.oidc_name_claim.clone(),
                role_claim: self.oidc_role_claim.clone(),
                roles: self.oidc_role.clone(),
                default_role: match self.oidc_default_role {
                    DefaultRole::Viewer => Some(Role::Viewer),
                    DefaultRole::None => None,
                },
            },
        };
        config.check(public_url)?;
        Ok(Some(config))
    }

    fn secret(&self) -> anyhow::Result<Plain> {
        let text = match &self.oidc_client_secret_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("--oidc-client-secret-file {} cannot be read", file.display()))?,
            None => std::env::var(SECRET).unwrap_or_default(),
        };
        if text.trim().is_empty() {
            bail!(
                "--oidc-issuer needs the client's secret: give it in a file with --oidc-client-secret-file, or in the \
                 variable {SECRET}"
            );
        }
        Ok(Plain::new(text.trim().to_owned()))
    }
}

/// Reads `VALUE=ROLE`.
fn role_rule(text: &str) -> Result<(String, Role), String> {
    let hint = || format!("`{text}` is not VALUE=ROLE, with viewer, operator or admin for the role");
    // A value may hold an equals sign, a role does not.
    let (value, role) = text.rsplit_once('=').ok_or_else(hint)?;
    let role = Role::from_name(role).filter(|_| !value.is_empty()).ok_or_else(hint)?;
    Ok((value.to_owned(), role))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: ProviderOptions,
    }

    const ISSUER: [&str; 3] = [
        "--oidc-issuer=https://id.example.org",
        "--oidc-client-id=patchwave",
        "--public-url=https://patchwave.example.org",
    ];

    fn read(more: &[&str]) -> Result<Option<ProviderConfig>, String> {
        let line =
            Line::try_parse_from([&["patchwave"], more].concat()).map_err(|error| error.to_string())?;
        line.options.config().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn all_that_is_needed_is_given_or_none_of_it() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[ISSUER[2]]).unwrap().is_none(), "the public URL has other uses");
        for lacking in 0..3 {
            let mut given = ISSUER.to_vec();
            given.remove(lacking);
            if lacking == 0 {
                given.remove(1);
            }
            assert!(read(&given).unwrap_err().contains("required"), "{given:?}");
        }
        assert!(read(&ISSUER).unwrap_err().contains("--oidc-client-secret-file"));
    }

    #[test]
    fn the_secret_is_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secret = format!("--oidc-client-secret-file={}", file.path().display());
        let given = [&ISSUER[..], &[&secret]].concat();
        assert!(read(&given).unwrap_err().contains("needs the client's secret"), "an empty file");
        std::fs::write(file.path(), "of the client\n").unwrap();
        let config = read(&given).unwrap().unwrap();
        assert_eq!(config.client_secret.reveal(), "of the client");
        assert!(!format!("{config:?}").contains("of the client"));
        assert_eq!(config.rules.default_role, None);

        let roles = ["--oidc-role-claim=groups", "--oidc-role=cn=leads=admin", "--oidc-role=devs=operator"];
        let config = read(&[&given[..], &roles].concat()).unwrap().unwrap();
        let expected = [("cn=leads".to_owned(), Role::Admin), ("devs".to_owned(), Role::Operator)];
        assert_eq!(config.rules.roles, expected);
        for bad in ["devs", "devs=", "=admin", "devs=root"] {
            let role = format!("--oidc-role={bad}");
            assert!(read(&[&given[..], &[roles[0], &role]].concat()).unwrap_err().contains("VALUE=ROLE"));
        }
        let lone = [&given[..], &["--oidc-role-claim=groups"]].concat();
        assert!(read(&lone).unwrap_err().contains("--oidc-role"), "a claim that gives nothing");

        let open = ["--oidc-issuer=http://id.example.org", ISSUER[1], ISSUER[2], &secret];
        assert!(read(&open).unwrap_err().contains("give an https URL"));
        let open = [ISSUER[0], ISSUER[1], "--public-url=http://patchwave.example.org", &secret];
        assert!(read(&open).unwrap_err().contains("in the clear"));
    }
}
