//! An operation of GraphQL: from a request to its answers.
//!
//! Owns the time that a query or a mutation may take, and the code that every error has. A subscription takes as long as it
//! takes.

use std::time::Duration;

use async_graphql::parser::parse_query;
use async_graphql::parser::types::OperationType;
use async_graphql::{ErrorExtensionValues, Pos, Request, Response as Answer, Value};
use events::rejection::Code;
use futures::stream::{self, BoxStream, StreamExt as _};

use super::Gateway;
use crate::access::Caller;
use crate::fault::Fault;

/// How long a request may take: longer than all that it may wait for.
const PATIENCE: Duration = Duration::from_secs(80);

/// What to do about what the library refuses.
const LIMITS: &str = "`schema.graphql` has the types. An answer may have 100,000 fields or so, counted with `first`, \
                      16 levels and 50 aliases: ask for smaller pages.";

/// What to do about a subscription where there is one answer.
const FOLLOW: &str =
    "Ask with `accept: text/event-stream`, or over a WebSocket with the subprotocol `graphql-transport-ws`.";

/// The one answer to a query or a mutation.
pub(super) async fn answer(gateway: &Gateway, caller: Caller, request: Request) -> Result<Answer, Fault> {
    if is_subscription(&request) {
        return Ok(refusal(Fault::invalid("a subscription has more than one answer", FOLLOW)));
    }
    let request = request.data(gateway.commands(caller.clone())).data(caller);
    match tokio::time::timeout(PATIENCE, gateway.graph.execute(request)).await {
        Ok(answer) => Ok(coded(answer)),
        Err(_) => {
            let message = format!("the request took longer than {} s", PATIENCE.as_secs());
            Err(Fault::new(Code::Busy, message, "Ask for less at once, or later."))
        }
    }
}

/// The answers of any operation: one to a query or a mutation, to a subscription as many as there are.
pub(super) fn answers(gateway: &Gateway, caller: Caller, request: Request) -> BoxStream<'static, Answer> {
    if is_subscription(&request) {
        let request = request.data(gateway.commands(caller.clone())).data(caller);
        return gateway.graph.execute_stream(request).map(coded).boxed();
    }
    let gateway = gateway.clone();
    stream::once(async move { answer(&gateway, caller, request).await.unwrap_or_else(refusal) }).boxed()
}

/// A fault as an answer.
pub(super) fn refusal(fault: Fault) -> Answer {
    Answer::from_errors(vec![async_graphql::Error::from(fault).into_server_error(Pos::default())])
}

/// Whether an answer is all that comes of its operation, since it says nothing but why there is none.
pub(super) fn is_refusal(answer: &Answer) -> bool {
    answer.data == Value::Null && !answer.errors.is_empty()
}

/// Whether a request is for a subscription. What cannot be read is refused later, with the place.
fn is_subscription(request: &Request) -> bool {
    if !request.query.contains("subscription") {
        return false;
    }
    let Ok(document) = parse_query(&request.query) else { return false };
    let wanted = request.operation_name.as_deref();
    document.operations.iter().any(|(name, operation)| {
        let meant = wanted.is_none() || wanted == name.map(|name| name.as_str());
        meant && operation.node.ty == OperationType::Subscription
    })
}

/// Gives the errors of the library the code that ours have: what it refuses is the request's fault.
fn coded(mut answer: Answer) -> Answer {
    for error in &mut answer.errors {
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        if extensions.get("code").is_none() {
            extensions.set("code", Code::InvalidRequest.as_str());
            extensions.set("hint", LIMITS);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operation_that_is_meant_counts() {
        let both = "query Q { viewer { name } } subscription S { runners { id } }";
        let named = |name: &str| Request::new(both).operation_name(name);
        assert!(is_subscription(&named("S")) && !is_subscription(&named("Q")));
        assert!(is_subscription(&Request::new("subscription { runners { id } }")));
        assert!(!is_subscription(&Request::new("{ action(name: \"subscription\") { id } }")));
        assert!(!is_subscription(&Request::new("subscription {")));
    }
}
