//! Operations, counted by what they are and what came of them.
//!
//! Owns the two labels. A subscription counts when it begins.

use std::sync::{Arc, OnceLock};

use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextRequest, NextSubscribe,
};
use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{Response, ServerResult, Value, Variables};
use events::rejection::Code;
use futures::stream::BoxStream;

use crate::metrics::Metrics;

/// Counts each operation.
pub(crate) struct Counted(pub(crate) Arc<Metrics>);

struct Count {
    metrics: Arc<Metrics>,
    operation: OnceLock<&'static str>,
}

impl ExtensionFactory for Counted {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Count { metrics: self.0.clone(), operation: OnceLock::new() })
    }
}

impl Count {
    fn count(&self, outcome: &str) {
        self.metrics.operated(self.operation.get().copied().unwrap_or("unreadable"), outcome);
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Count {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        let answer = next.run(ctx).await;
        match answer.errors.first() {
            None => self.count("ok"),
            Some(error) => match error.extensions.as_ref().and_then(|extensions| extensions.get("code")) {
                Some(Value::String(code)) => self.count(code),
                // What the library refuses is the request's fault.
                _ => self.count(Code::InvalidRequest.as_str()),
            },
        }
        answer
    }

    fn subscribe<'s>(
        &self,
        ctx: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        self.metrics.operated("subscription", "ok");
        next.run(ctx, stream)
    }

    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await?;
        // Which one of several is meant makes no difference here: they are seldom of two kinds.
        if let Some((_, operation)) = document.operations.iter().next() {
            let _ = self.operation.set(match operation.node.ty {
                OperationType::Query => "query",
                OperationType::Mutation => "mutation",
                OperationType::Subscription => "subscription",
            });
        }
        Ok(document)
    }
}
