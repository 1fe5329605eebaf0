//! Discovery: what the provider says of itself, and the keys that it signs with.
//!
//! Owns when it is asked. It is asked when somebody first wants to sign in, so that a gateway starts while it is away; anew
//! after an hour; and for its keys when something is signed with one that is not known, at most once a minute, since
//! whoever makes up keys must not make the provider busy through us.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, IssuerUrl, ProviderMetadata};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::http::Http;
use crate::access::public_url::is_private;

/// How long what the provider says of itself is taken to be so.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// How often it is asked for keys that are not known.
const KEYS_AT_MOST: Duration = Duration::from_secs(60);

/// What the library does not read: RFC 9207.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct More {
    /// Whether it always says who it is when it sends a browser back.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for More {}

/// What the provider says of itself, with its keys.
pub(super) type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// What is known of the provider.
#[derive(Debug)]
pub(super) struct Discovery {
    issuer: IssuerUrl,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<(Arc<Metadata>, Instant)>,
    /// When it was last asked in vain, and why that was.
    failed: Option<(Instant, String)>,
    /// When it was last asked because of a key.
    asked_for_keys: Option<Instant>,
}

impl Discovery {
    pub(super) fn new(issuer: IssuerUrl) -> Self {
        Self { issuer, state: Mutex::default() }
    }

    /// What the provider says of itself. Of all who ask at once, one asks the provider.
    ///
    /// # Errors
    /// When it cannot be reached, or says what cannot be.
    pub(super) async fn known(&self, http: &Http) -> anyhow::Result<Arc<Metadata>> {
        let since = Instant::now();
        let mut state = self.state.lock().await;
        let known = state.known.as_ref().filter(|(_, at)| at.elapsed() < FRESH);
        if let Some((known, _)) = known {
            return Ok(known.clone());
        }
        self.ask(&mut state, http, since).await
    }

    /// What it says now, because it signed with a key that is not in `old`; nothing: it was asked for that just now.
    ///
    /// # Errors
    /// As [`Self::known`].
    pub(super) async fn with_other_keys(
        &self,
        http: &Http,
        old: &Arc<Metadata>,
    ) -> anyhow::Result<Option<Arc<Metadata>>> {
        let since = Instant::now();
        let mut state = self.state.lock().await;
        if let Some((known, _)) = state.known.as_ref().filter(|(known, _)| !Arc::ptr_eq(known, old)) {
            return Ok(Some(known.clone()));
        }
        if state.asked_for_keys.is_some_and(|asked| asked.elapsed() < KEYS_AT_MOST) {
            return Ok(None);
        }
        state.asked_for_keys = Some(since);
        self.ask(&mut state, http, since).await.map(Some)
    }

    async fn ask(&self, state: &mut State, http: &Http, since: Instant) -> anyhow::Result<Arc<Metadata>> {
        // Whoever waited meanwhile need not find out the same.
        if let Some((_, why)) = state.failed.as_ref().filter(|(at, _)| *at > since) {
            bail!("{why}");
        }
        match self.discover(http).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *state = State { known: Some((metadata.clone(), Instant::now())), failed: None, ..*state };
                Ok(metadata)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), format!("{error:#}")));
                Err(error)
            }
        }
    }

    async fn discover(&self, http: &Http) -> anyhow::Result<Metadata> {
        let metadata = Metadata::discover_async(self.issuer.clone(), &http.caller())
            .await
            .with_context(|| format!("what {} says of itself", self.issuer.as_str()))?;
        let endpoints = [
            Some(metadata.authorization_endpoint().url()),
            metadata.token_endpoint().map(|endpoint| endpoint.url()),
            metadata.userinfo_endpoint().map(|endpoint| endpoint.url()),
            Some(metadata.jwks_uri().url()),
        ];
        if let Some(open) = endpoints.into_iter().flatten().find(|url| !is_private(url)) {
            bail!("the provider names {open}, which is neither https nor on this machine");
        }
        if metadata.token_endpoint().is_none() {
            bail!("the provider has no token endpoint");
        }
        Ok(metadata)
    }
}
