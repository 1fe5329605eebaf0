//! What a subscription may have at its top: one field.
//!
//! Owns that check. The library passes over a fragment there without a word, and would tell a reader nothing for ever.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery};
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection};
use async_graphql::{ServerError, ServerResult, Variables};

/// Refuses subscriptions with more than one field at the top.
pub(crate) struct OneAtTheTop;

impl ExtensionFactory for OneAtTheTop {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for OneAtTheTop {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await?;
        for (_, operation) in document.operations.iter() {
            let top = &operation.node.selection_set.node.items;
            let one = matches!(&top[..], [only] if matches!(only.node, Selection::Field(_)));
            if operation.node.ty == OperationType::Subscription && !one {
                let message = "a subscription has one field at its top, and no fragment there";
                return Err(ServerError::new(message, Some(operation.pos)));
            }
        }
        Ok(document)
    }
}
