//! The provider's answers over HTTP.
//!
//! Owns their limits: in time, in size, and that nobody is followed who sends us elsewhere.

use std::time::Duration;

use openidconnect::{HttpRequest, HttpResponse};
use reqwest::redirect::Policy;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of an answer.
const MAX_BYTES: usize = 1_048_576;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// None came.
    #[error("no answer from the provider")]
    Unanswered(#[source] reqwest::Error),
    /// It went on and on.
    #[error("the provider's answer is larger than {MAX_BYTES} bytes")]
    TooLarge,
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unanswered(error)
    }
}

/// Sends requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Http(reqwest::Client);

impl Http {
    /// For a provider on this machine, or anywhere: then it trusts this machine's certificate authorities, or those that
    /// `SSL_CERT_FILE` names, and goes through the proxy of the environment.
    pub(super) fn new(on_this_machine: bool) -> anyhow::Result<Self> {
        // It may be there already: all clients of this program have the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("patchwave/", env!("CARGO_PKG_VERSION")));
        let builder = if on_this_machine { builder.no_proxy() } else { builder };
        Ok(Self(builder.build()?))
    }

    /// As the library wants it.
    pub(super) fn caller(
        &self,
    ) -> impl Fn(
        HttpRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>
    + use<> {
        let client = self.0.clone();
        move |request| Box::pin(send(client.clone(), request))
    }
}

async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let mut answer = client.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = HttpResponse::new(body);
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}
