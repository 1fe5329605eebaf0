//! GraphQL over HTTP: queries and mutations with typed results.
//!
//! Owns the request and the reading of errors. Invariant: a mutation that is sent again carries the id of the first
//! sending, so that it happens once.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::again::again;
use super::{Client, Failed};
use crate::failure::Complaint;

#[derive(Deserialize)]
struct Answer<T> {
    data: Option<T>,
    #[serde(default)]
    errors: Vec<GraphqlError>,
}

#[derive(Deserialize)]
struct GraphqlError {
    message: String,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extensions {
    code: Option<String>,
    hint: Option<String>,
    diagnostics: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    rendered: String,
}

impl Client {
    /// Asks for something, or asks for something to be done.
    pub(crate) async fn graphql<T: DeserializeOwned>(
        &self,
        query: &str,
        variables: &Value,
    ) -> Result<T, Failed> {
        let request = json!({ "query": query, "variables": variables });
        let answer = self.post(&["graphql"], &request).await?;
        let url = answer.url().clone();
        let body = answer.bytes().await.map_err(|error| self.unreachable(&url, error))?;
        let answer = serde_json::from_slice::<Answer<Value>>(&body);
        let answer = answer.map_err(|error| Failed::last(not_ours(error)))?;
        if let Some(error) = answer.errors.into_iter().next() {
            return Err(Failed::last(complaint(error)));
        }
        let data = answer.data.unwrap_or_default();
        serde_json::from_value(data).map_err(|error| Failed::last(not_ours(error)))
    }

    /// Asks for something to be done, again and again while nobody answers: `variables` must hold a mutation id.
    pub(crate) async fn mutate<T: DeserializeOwned>(
        &self,
        query: &str,
        variables: &Value,
    ) -> anyhow::Result<T> {
        again(async || self.graphql(query, variables).await).await
    }
}

fn complaint(error: GraphqlError) -> Complaint {
    let GraphqlError { message, extensions: Extensions { code, hint, diagnostics } } = error;
    let hint = hint.unwrap_or_else(|| match code.as_deref() {
        Some("internal") => "the gateway's log says more under this reference".to_owned(),
        _ => String::new(),
    });
    let details = diagnostics.into_iter().map(|diagnostic| diagnostic.rendered).collect();
    Complaint { code, message, hint, details }
}

fn not_ours(error: serde_json::Error) -> anyhow::Error {
    let message = "the server's answer is not one that this client knows";
    anyhow::Error::from(error)
        .context(Complaint::new(message, "compare `patchwave --version` here and there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_its_hint_and_its_diagnostics() {
        let text = r#"{"data":null,"errors":[{"message":"2 errors","path":["applyAction"],"extensions":
            {"code":"invalid-definition","hint":"mend them","diagnostics":[{"rendered":"error[x]: y","line":1}]}}]}"#;
        let answer: Answer<Value> = serde_json::from_str(text).unwrap();
        let complaint = complaint(answer.errors.into_iter().next().unwrap());
        assert_eq!(complaint.code.as_deref(), Some("invalid-definition"));
        assert_eq!(
            (complaint.hint.as_str(), complaint.details.as_slice()),
            ("mend them", &["error[x]: y".to_owned()][..])
        );
    }

    #[test]
    fn an_error_without_extensions_is_one_all_the_same() {
        let answer: Answer<Value> = serde_json::from_str(r#"{"errors":[{"message":"bad query"}]}"#).unwrap();
        assert_eq!(complaint(answer.errors.into_iter().next().unwrap()), Complaint::new("bad query", ""));
    }
}
