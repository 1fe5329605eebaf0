//! The rules for whoever comes from the provider: what they are called, and what they may do.
//!
//! Owns how claims are read. Never looks at who is known already.

use events::rejection::Code;
use events::user::{InvalidUserName, Role, UserName};
use serde_json::{Map, Value};

use crate::fault::Fault;

/// What the provider says of somebody, by the names of OpenID Connect.
pub(super) type Claims = Map<String, Value>;

/// The claim that counts only where the provider has checked it.
const EMAIL: &str = "email";

/// How names and roles follow from claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRules {
    /// The claim that becomes the name of somebody new; `email` counts only where `email_verified` is true.
    pub name_claim: String,
    /// The claim that decides about the role at each sign-in: a text or a list of texts. Absent: an administrator does.
    /// `a.b` is the claim `b` within `a`, unless there is a claim of that whole name.
    pub role_claim: Option<String>,
    /// What a value of it gives; of several the highest counts.
    pub roles: Vec<(String, Role)>,
    /// What whoever has none of them gets; absent: they may not come in.
    pub default_role: Option<Role>,
}

impl ProviderRules {
    /// The claims that are needed, by name.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &str> {
        [Some(self.name_claim.as_str()), self.role_claim.as_deref()].into_iter().flatten()
    }

    /// The scopes of OpenID Connect that bring the claim of the name.
    pub(super) fn scope(&self) -> Option<&'static str> {
        match self.name_claim.as_str() {
            EMAIL => Some("email"),
            "sub" => None,
            _ => Some("profile"),
        }
    }

    /// What somebody is called.
    pub(super) fn name(&self, claims: &Claims) -> Result<UserName, Fault> {
        let claim = &self.name_claim;
        let refused = |message: String, hint: &str| Fault::new(Code::Forbidden, message, hint);
        let Some(text) = claim_of(claims, claim).and_then(Value::as_str) else {
            let hint = "Whoever runs Patchwave names another claim with `--oidc-name-claim`, or a scope that brings \
                        this one with `--oidc-scope`.";
            return Err(refused(format!("the provider does not say your `{claim}`"), hint));
        };
        if claim == EMAIL && claims.get("email_verified") != Some(&Value::Bool(true)) {
            let hint = "Verify the address at the provider. Where the provider verifies none, whoever runs Patchwave \
                        takes another name: `--oidc-name-claim preferred_username`.";
            return Err(refused(format!("the provider has not verified the address {text}"), hint));
        }
        // Addresses are written in either case; a name here is written in one.
        text.to_lowercase().parse().map_err(|InvalidUserName(name)| {
            let hint =
                "An administrator makes you a user of another name, and links it: `patchwave user link`.";
            refused(format!("`{name}` cannot be a name here"), hint)
        })
    }

    /// What somebody may do; nothing: they may not come in.
    pub(super) fn role(&self, claims: &Claims) -> Option<Role> {
        let values = match self.role_claim.as_ref().and_then(|claim| claim_of(claims, claim)) {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(value)) => vec![value.as_str()],
            _ => Vec::new(),
        };
        let given = self.roles.iter().filter(|(value, _)| values.contains(&value.as_str()));
        given.map(|(_, role)| *role).max().or(self.default_role)
    }
}

/// A claim by its name, or by its path.
pub(super) fn claim_of<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let mut parts = name.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use serde_json::json;

    use super::*;

    fn rules(role_claim: Option<&str>, default_role: Option<Role>) -> ProviderRules {
        let roles = [("devs", Role::Operator), ("leads", Role::Admin), ("guests", Role::Viewer)];
        ProviderRules {
            name_claim: "email".to_owned(),
            role_claim: role_claim.map(str::to_owned),
            roles: roles.map(|(value, role)| (value.to_owned(), role)).to_vec(),
            default_role,
        }
    }

    fn claims(claims: Value) -> Claims {
        claims.as_object().unwrap().clone()
    }

    #[test]
    fn an_address_is_a_name_only_where_the_provider_has_checked_it() {
        let rules = rules(None, None);
        let name = |email: Value, verified: Value| {
            let named = rules.name(&claims(json!({ "email": email, "email_verified": verified })));
            named.map(|name| name.to_string()).map_err(|fault| fault.parts().0)
        };
        assert_eq!(name(json!("Anna@Example.org"), json!(true)), Ok("anna@example.org".to_owned()));
        for unverified in [json!(false), json!(null), json!("true"), json!(1)] {
            let refused = name(json!("anna@example.org"), unverified).unwrap_err();
            assert_eq!(refused, "the provider has not verified the address anna@example.org");
        }
        assert!(rules.name(&claims(json!({ "email": "anna@example.org" }))).is_err());
        assert!(name(json!("anna+test@example.org"), json!(true)).unwrap_err().contains("cannot be a name"));
        assert!(name(json!("local"), json!(true)).unwrap_err().contains("cannot be a name"));
        assert_eq!(name(json!(null), json!(true)).unwrap_err(), "the provider does not say your `email`");

        let other = ProviderRules { name_claim: "preferred_username".to_owned(), ..rules.clone() };
        let named = other.name(&claims(json!({ "preferred_username": "anna" }))).unwrap();
        assert_eq!(named.as_str(), "anna");
    }

    #[test]
    fn the_highest_of_the_roles_that_the_claim_gives_counts() {
        let given =
            |claim: &str, default: Option<Role>, told: Value| rules(Some(claim), default).role(&claims(told));
        assert_eq!(
            given("groups", None, json!({ "groups": ["guests", "leads", "devs"] })),
            Some(Role::Admin)
        );
        assert_eq!(given("groups", None, json!({ "groups": "devs" })), Some(Role::Operator));
        assert_eq!(given("groups", None, json!({ "groups": ["others", 7] })), None);
        assert_eq!(given("groups", Some(Role::Viewer), json!({})), Some(Role::Viewer));
        let nested = json!({ "realm_access": { "roles": ["devs"] } });
        assert_eq!(given("realm_access.roles", None, nested), Some(Role::Operator));
        let whole = json!({ "https://example.org/groups": ["leads"] });
        assert_eq!(given("https://example.org/groups", None, whole), Some(Role::Admin));
        let none = rules(None, Some(Role::Viewer));
        assert_eq!(none.role(&claims(json!({ "groups": ["leads"] }))), Some(Role::Viewer));
    }
}
