//! The rules: which role each operation needs.
//!
//! Owns the one table of them. What is not in it is refused to everybody, and a test finds what was forgotten; a page of the
//! documentation is made from it, and another test calls every operation as every role and compares.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextResolve, ResolveInfo};
use async_graphql::{PathSegment, ServerError, ServerResult, Value};
use events::rejection::Code;
use events::user::Role;

use super::Caller;
use crate::fault::Fault;

/// Who may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Whoever has at least this role.
    Role(Role),
    /// Everybody for themselves, administrators for all: the operation looks whose affair it is.
    Own,
}

const VIEWER: Need = Need::Role(Role::Viewer);
const OPERATOR: Need = Need::Role(Role::Operator);
const ADMIN: Need = Need::Role(Role::Admin);

/// Every operation: a field of `Query`, `Mutation` or `Subscription`, or a method and a path.
pub(crate) const RULES: &[(&str, Need)] = &[
    ("Query.actions", VIEWER),
    ("Query.action", VIEWER),
    ("Query.executions", VIEWER),
    ("Query.execution", VIEWER),
    ("Query.job", VIEWER),
    ("Query.plan", VIEWER),
    ("Query.repositories", VIEWER),
    ("Query.repository", VIEWER),
    ("Query.node", VIEWER),
    ("Query.nodes", VIEWER),
    ("Query.preview", VIEWER),
    ("Query.runner", VIEWER),
    ("Query.runners", VIEWER),
    ("Query.secrets", VIEWER),
    ("Query.viewer", VIEWER),
    ("Query.tokens", Need::Own),
    ("Query.users", ADMIN),
    ("Subscription.executionEvents", VIEWER),
    ("Subscription.jobLog", VIEWER),
    ("Subscription.events", VIEWER),
    ("Subscription.runners", VIEWER),
    ("POST /graphql", VIEWER),
    ("GET /graphql", VIEWER),
    ("GET /files", VIEWER),
    ("GET /metrics", VIEWER),
    ("GET /actions/{id}/revisions/{revision}/files", VIEWER),
    ("GET /actions/{id}/revisions/{revision}/archive", VIEWER),
    ("GET /events", VIEWER),
    ("GET /executions/{id}/events", VIEWER),
    ("GET /jobs/{id}/log", VIEWER),
    ("GET /jobs/{id}/patch", VIEWER),
    ("GET /plans/{id}/archive", VIEWER),
    ("GET /plans/{id}/changesets/{position}/patch", VIEWER),
    ("POST /signout", VIEWER),
    ("POST /signin/terminal", VIEWER),
    ("PUT /files/{sha256}", OPERATOR),
    ("Mutation.applyAction", OPERATOR),
    ("Mutation.previewAction", OPERATOR),
    ("Mutation.archiveAction", OPERATOR),
    ("Mutation.setActionSchedule", OPERATOR),
    ("Mutation.clearActionSchedule", OPERATOR),
    ("Mutation.linkActionSavedSearch", OPERATOR),
    ("Mutation.unlinkActionSavedSearch", OPERATOR),
    ("Mutation.attachActionCampaign", OPERATOR),
    ("Mutation.detachActionCampaign", OPERATOR),
    ("Mutation.createActionExecution", OPERATOR),
    ("Mutation.cancelExecution", OPERATOR),
    ("Mutation.retryExecution", OPERATOR),
    ("Mutation.createCampaignPlan", OPERATOR),
    ("Mutation.cancelJob", OPERATOR),
    ("Mutation.retryJob", OPERATOR),
    ("Mutation.setSecret", OPERATOR),
    ("Mutation.deleteSecret", OPERATOR),
    ("Mutation.drainRunner", OPERATOR),
    ("Mutation.setPassword", Need::Own),
    ("Mutation.createToken", Need::Own),
    ("Mutation.revokeToken", Need::Own),
    ("Mutation.createUser", ADMIN),
    ("Mutation.setUserRole", ADMIN),
    ("Mutation.linkUser", ADMIN),
    ("Mutation.removeUser", ADMIN),
    ("Mutation.createRunnerToken", ADMIN),
    ("Mutation.revokeRunner", ADMIN),
];

/// What an operation needs; nothing: it is not one.
pub(crate) fn need(operation: &str) -> Option<Need> {
    RULES.iter().find(|(name, _)| *name == operation).map(|(_, need)| *need)
}

impl Caller {
    /// Lets this caller do something, or says what it takes.
    ///
    /// # Errors
    /// A rejection [`Code::Forbidden`].
    pub(crate) fn check(&self, operation: &str) -> Result<(), Fault> {
        match need(operation) {
            Some(Need::Role(role)) => self.have(role, operation),
            Some(Need::Own) => Ok(()),
            None => Err(Fault::ours(anyhow::anyhow!("{operation} has no rule"))),
        }
    }

    /// Lets administrators do what is not their own affair.
    ///
    /// # Errors
    /// A rejection [`Code::Forbidden`].
    pub(crate) fn check_for(&self, user: &str, operation: &str) -> Result<(), Fault> {
        if self.is(user) { Ok(()) } else { self.have(Role::Admin, operation) }
    }

    fn have(&self, needed: Role, operation: &str) -> Result<(), Fault> {
        if self.role >= needed {
            return Ok(());
        }
        let what = operation.split_once('.').map_or(operation, |(_, field)| field);
        let message = format!(
            "{what} needs the role {needed}; {} has the role {} here, and a token may do less than its user",
            self.name, self.role
        );
        let hint = "`patchwave whoami` says who you are. An administrator gives roles: `patchwave user role NAME ROLE`.";
        Err(Fault::new(Code::Forbidden, message, hint).detail("needed", needed.as_str()))
    }
}

/// Checks each field of `Query` and `Mutation` before it is resolved, and what a subscription yields before it is shown;
/// whether it may begin is checked by the subscription itself.
pub(crate) struct RoleGuard;

impl ExtensionFactory for RoleGuard {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for RoleGuard {
    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        // What is below was let through above; and the schema is no secret.
        if !matches!(info.parent_type, "Query" | "Mutation" | "Subscription") || info.name.starts_with("__") {
            return next.run(ctx, info).await;
        }
        let operation = format!("{}.{}", info.parent_type, info.name);
        let checked = match ctx.data::<Caller>() {
            Ok(caller) => caller.check(&operation),
            Err(error) => Err(Fault::ours(anyhow::anyhow!("a request without a caller: {}", error.message))),
        };
        match checked {
            Ok(()) => next.run(ctx, info).await,
            Err(fault) => {
                let name = info.alias.unwrap_or(info.name).to_owned();
                let error: ServerError =
                    async_graphql::Error::from(fault).into_server_error(info.field.name.pos);
                Err(error.with_path(vec![PathSegment::Field(name)]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;
    use crate::schema::builder;

    #[tokio::test]
    async fn every_field_at_the_top_has_a_rule_and_every_rule_a_field() {
        let query = "{ __schema { queryType { ...F } mutationType { ...F } subscriptionType { ...F } } }
            fragment F on __Type { name fields { name } }";
        let answer = builder().finish().execute(query).await;
        assert!(answer.errors.is_empty(), "{:?}", answer.errors);
        let schema = answer.data.into_json().unwrap();
        let mut fields = BTreeSet::new();
        for kind in ["queryType", "mutationType", "subscriptionType"] {
            let kind = &schema["__schema"][kind];
            let name = kind["name"].as_str().unwrap();
            for field in kind["fields"].as_array().unwrap() {
                fields.insert(format!("{name}.{}", field["name"].as_str().unwrap()));
            }
        }
        assert!(fields.len() > 20);
        let ruled: BTreeSet<String> =
            RULES.iter().map(|(name, _)| (*name).to_owned()).filter(|name| name.contains('.')).collect();
        assert_eq!(fields, ruled);
        let names: BTreeSet<&str> = RULES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), RULES.len(), "an operation has one rule");
    }

    #[tokio::test]
    async fn nobody_without_a_caller_gets_through() {
        let answer = builder().finish().execute("{ viewer { name } }").await;
        assert_eq!(answer.errors.len(), 1);
        assert!(answer.errors[0].message.starts_with("internal error"), "{:?}", answer.errors);
    }

    #[test]
    fn every_path_is_on_the_page_about_http() {
        let page = include_str!("../../../../docs/http.md");
        let paths = RULES.iter().map(|(name, _)| *name).filter(|name| name.contains(' '));
        let forgotten: Vec<&str> = paths
            .filter(|path| !page.contains(&format!("| `{path}")) && !page.contains(&format!(", `{path}`")))
            .collect();
        assert!(forgotten.is_empty(), "docs/http.md has no row for {forgotten:?}");
    }

    const HEAD: &str = "# Who may do what

This page is made from the rules of the gateway; a test calls each of these operations as each role and compares. Who has which role, and how
to sign in: [access control](access-control.md).

`own`: for oneself; for others it takes an administrator. `Subscription.events` and `GET /events` leave out what is about users, tokens and
secrets for all but administrators. `/healthz`, `/readyz`, `/signin`, `GET /signin/terminal`, `/signin/oidc`, `/signin/oidc/callback` and `/setup`
are open to everybody; the schema of GraphQL to everybody who is signed in.

| operation | viewer | operator | admin |
|---|---|---|---|
";

    #[test]
    fn the_page_is_made_from_the_rules() {
        let mut page = HEAD.to_owned();
        for (operation, need) in RULES {
            let cells = Role::ALL.map(|role| match need {
                Need::Own if role == Role::Admin => "yes",
                Need::Own => "own",
                Need::Role(needed) if role >= *needed => "yes",
                Need::Role(_) => "no",
            });
            let _ = writeln!(page, "| `{operation}` | {} |", cells.join(" | "));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/access.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let known = std::fs::read_to_string(path).unwrap_or_default();
        assert!(known == page, "docs/access.md is old: UPDATE_DOCS=1 cargo test -p gateway --lib rules");
    }
}
