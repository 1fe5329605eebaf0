//! Secrets as they are shown: all but their values.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use events::id::ActionId;
use events::secret::{Scope, SecretVersion};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::action::Action;
use super::by_id;
use super::connection::Total;
use super::scalar::{DateTime, int};
use crate::projection::{Bound, Cursor, Identified, List, Listed, Order};

/// A value that steps may use and nobody may read.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Secret {
    id: ID,
    /// Also the variable in which a step finds it.
    name: String,
    /// The action whose steps may ask for it; absent: the steps of every action.
    action_id: Option<ID>,
    /// Which value it is, from 1.
    version: i32,
    /// Who set this value.
    actor: String,
    set_at: DateTime,
}

impl FromRow<'_, AnyRow> for Secret {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: ID(row.try_get("id")?),
            name: row.try_get("name")?,
            action_id: Some(row.try_get::<String, _>("scope")?).filter(|action| !action.is_empty()).map(ID),
            version: int(row.try_get("version")?),
            actor: row.try_get("actor")?,
            set_at: DateTime(row.try_get("set_at")?),
        })
    }
}

impl Identified for Secret {
    const VIEW: &'static str = "secrets";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for Secret {
    const VIEW: &'static str = "secrets";
    const ORDER: Order = Order { columns: &["name", "id"], descending: false };

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Text(self.name.clone()), Bound::Text(self.id.0.clone())])
    }
}

/// Those that were not deleted; of an action: those that its steps may ask for.
pub(super) fn listed(action: Option<ActionId>) -> (List, Total) {
    let list = List::of::<Secret>().with("deleted", false);
    match action {
        None => (list, Total::Kept("secrets".to_owned(), None)),
        Some(action) => {
            let scopes = vec!["".into(), action.to_string().into()];
            (list.with_one_of("scope", scopes), Total::Unknown)
        }
    }
}

#[ComplexObject]
impl Secret {
    /// The action of `actionId`.
    async fn action(&self, ctx: &Context<'_>) -> Result<Option<Action>> {
        match &self.action_id {
            Some(id) => by_id(ctx, id.to_string(), None).await,
            None => Ok(None),
        }
    }
}

/// Which value of a secret an attempt was given.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct AttemptSecret {
    name: String,
    /// The action for which it was set; absent: for every action.
    action_id: Option<ID>,
    version: i32,
}

impl From<SecretVersion> for AttemptSecret {
    fn from(secret: SecretVersion) -> Self {
        let action_id = match secret.scope {
            Scope::Global => None,
            Scope::Action { action } => Some(ID(action.to_string())),
        };
        let version = int(secret.version.into());
        Self { name: secret.name.to_string(), action_id, version }
    }
}
