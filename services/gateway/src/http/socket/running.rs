//! The operations that run on a connection.
//!
//! Owns their ids and how many there may be, and whose turn it is: each is asked before any is asked twice.

use std::collections::HashMap;

use async_graphql::Response as Answer;
use events::rejection::Code;
use futures::future::ready;
use futures::stream::{self, AbortHandle, BoxStream, SelectAll, StreamExt as _, abortable};

use super::message::Outgoing;
use crate::fault::Fault;
use crate::http::operation;

/// How many operations one connection may run at once.
const AT_ONCE: usize = 100;

/// Operations by id.
#[derive(Default)]
pub(super) struct Running {
    answers: SelectAll<BoxStream<'static, Said>>,
    handles: HashMap<String, AbortHandle>,
}

/// An answer of an operation, or its end.
type Said = (String, Option<Answer>);

/// Why no more may begin.
pub(super) fn too_many() -> Fault {
    let message = format!("{AT_ONCE} operations run on this connection");
    Fault::new(Code::Busy, message, "End some, or open another connection.")
}

impl Running {
    pub(super) fn has(&self, id: &str) -> bool {
        self.handles.contains_key(id)
    }

    pub(super) fn is_full(&self) -> bool {
        self.handles.len() >= AT_ONCE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Begins an operation under an id that is free.
    pub(super) fn begin(&mut self, id: String, answers: BoxStream<'static, Answer>) {
        let named = id.clone();
        let said = answers.map(Some).chain(stream::once(ready(None)));
        let (said, handle) = abortable(said.map(move |answer| (named.clone(), answer)));
        self.handles.insert(id, handle);
        self.answers.push(said.boxed());
    }

    /// Ends an operation if it runs. Its id is free, and nothing more is said of it.
    pub(super) fn end(&mut self, id: &str) {
        if let Some(handle) = self.handles.remove(id) {
            handle.abort();
        }
    }

    /// The next that is to be said; nothing when an operation that was ended is gone. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<String> {
        let (id, answer) = self.answers.next().await?;
        let Some(answer) = answer else {
            self.handles.remove(&id);
            return Outgoing::Complete { id: &id }.to_text().ok();
        };
        if operation::is_refusal(&answer) {
            self.end(&id);
            return Outgoing::Error { id: &id, payload: &answer.errors }.to_text().ok();
        }
        match (Outgoing::Next { id: &id, payload: &answer }).to_text() {
            Ok(text) => Some(text),
            Err(error) => {
                self.end(&id);
                let refusal = operation::refusal(Fault::ours(error));
                Outgoing::Error { id: &id, payload: &refusal.errors }.to_text().ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn endless() -> BoxStream<'static, Answer> {
        stream::repeat_with(|| Answer::new(1)).boxed()
    }

    #[tokio::test]
    async fn each_has_its_turn_and_says_nothing_behind_its_end() {
        let mut running = Running::default();
        running.begin("one".to_owned(), endless());
        running.begin("two".to_owned(), endless());
        let mut said = Vec::new();
        for _ in 0..20 {
            said.push(running.next().await.unwrap());
        }
        for id in ["one", "two"] {
            let mark = format!("\"id\":\"{id}\"");
            assert_eq!(said.iter().filter(|text| text.contains(&mark)).count(), 10, "{said:?}");
        }
        running.end("one");
        running.end("two");
        // The id is free at once, and what comes under it is the new one's.
        running.begin("one".to_owned(), stream::once(ready(Answer::new(2))).boxed());
        assert!(running.next().await.unwrap().contains(":{\"data\":2}"));
        assert_eq!(running.next().await.unwrap(), r#"{"type":"complete","id":"one"}"#);
        assert!(!running.has("one") && running.next().await.is_none() && running.is_empty());
    }

    #[tokio::test]
    async fn an_operation_without_an_answer_ends_with_the_reason() {
        let mut running = Running::default();
        let refusal = || operation::refusal(Fault::invalid("no", "Ask for something else."));
        running.begin("one".to_owned(), stream::repeat_with(refusal).boxed());
        let said = running.next().await.unwrap();
        assert!(said.starts_with(r#"{"type":"error","id":"one","payload":[{"message":"no""#), "{said}");
        assert!(!running.has("one") && running.next().await.is_none());
    }
}
