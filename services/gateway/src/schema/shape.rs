//! The shape of a request: how much it may ask for at once, beside what its answer may cost.
//!
//! Owns the count of fields at the top of all operations and of aliases anywhere: the limit on complexity bounds the size of an
//! answer, this one bounds how many statements and commands make it. And that a subscription has one field at its top: the
//! library passes over a fragment there without a word, and would tell a reader nothing for ever.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery};
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use async_graphql::{ServerError, ServerResult, Variables};

/// How many aliases and how many fields at the top one request may have.
const LIMIT: usize = 50;

/// Refuses requests that are out of shape.
pub(crate) struct Shape;

impl ExtensionFactory for Shape {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Shape {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await?;
        few_aliases(&document)?;
        one_at_the_top(&document)?;
        Ok(document)
    }
}

fn few_aliases(document: &ExecutableDocument) -> ServerResult<()> {
    let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
    let top: usize = operations.clone().map(|set| set.items.len()).sum();
    let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
    let aliases: usize = operations.chain(fragments).map(aliases).sum();
    if top.max(aliases) > LIMIT {
        let message = format!("the query has more than {LIMIT} aliases, or fields at its top");
        return Err(ServerError::new(message, None));
    }
    Ok(())
}

/// How many aliases there are in a selection. The parser bounds its depth.
fn aliases(set: &SelectionSet) -> usize {
    let each = set.items.iter().map(|item| match &item.node {
        Selection::Field(field) => {
            usize::from(field.node.alias.is_some()) + aliases(&field.node.selection_set.node)
        }
        Selection::InlineFragment(fragment) => aliases(&fragment.node.selection_set.node),
        Selection::FragmentSpread(_) => 0,
    });
    each.sum()
}

fn one_at_the_top(document: &ExecutableDocument) -> ServerResult<()> {
    for (_, operation) in document.operations.iter() {
        let top = &operation.node.selection_set.node.items;
        let one = matches!(&top[..], [only] if matches!(only.node, Selection::Field(_)));
        if operation.node.ty == OperationType::Subscription && !one {
            let message = "a subscription has one field at its top, and no fragment there";
            return Err(ServerError::new(message, Some(operation.pos)));
        }
    }
    Ok(())
}
