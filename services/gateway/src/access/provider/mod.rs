//! The provider of identities: people sign in there, by OpenID Connect, and come here with what it signs.
//!
//! Owns the way there and back: the authorization code flow with PKCE, a state and a nonce, and what is checked before
//! anybody is believed. Never decides who is a user: that is the commands' affair. Invariant: nothing that a browser brings
//! is believed unless that browser began the attempt and the provider signed it for us.

mod attempt;
mod discovery;
mod http;
mod rules;

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use broker::sealing::Plain;
use events::rejection::Code;
use events::user::Identity;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthType, AuthorizationCode, ClaimsVerificationError, Client,
    ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    IdToken, IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, StandardErrorResponse, StandardTokenResponse, SubjectIdentifier,
    TokenResponse as _, UserInfoClaims,
};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use attempt::Attempt;
pub use rules::ProviderRules;

use self::discovery::{Discovery, Metadata};
use self::http::{Http, HttpError};
use self::rules::{Claims, claim_of};
use super::public_url::{PublicUrl, is_loopback, is_private};
use crate::command::Person;
use crate::fault::Fault;

/// Where the provider sends browsers back to, under the public URL.
const CALLBACK: &str = "/signin/oidc/callback";

/// The longest of what a browser brings back that is looked at.
const MAX_BYTES: usize = 4_096;

/// What is set about the provider.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Its URL, exactly as it stands in what it signs.
    pub issuer: String,
    /// What it calls us.
    pub client_id: String,
    /// What it knows us by.
    pub client_secret: Plain,
    /// Scopes beside those that the name needs.
    pub scopes: Vec<String>,
    /// How names and roles follow from what it says.
    pub rules: ProviderRules,
}

impl ProviderConfig {
    /// Looks whether this can work, without asking anybody.
    ///
    /// # Errors
    /// When it cannot, with what to set instead.
    pub fn check(&self, public_url: &PublicUrl) -> anyhow::Result<()> {
        let issuer = Url::parse(&self.issuer)
            .with_context(|| format!("--oidc-issuer {} is no URL: give an https URL", self.issuer))?;
        if !is_private(&issuer) {
            bail!("--oidc-issuer {issuer} is neither https nor on this machine: give an https URL");
        }
        if !public_url.is_private() {
            bail!(
                "--public-url {public_url} is neither https nor on this machine: what the provider sends back would cross \
                 the network in the clear. Let a proxy that speaks TLS stand before the gateway"
            );
        }
        Ok(())
    }
}

/// What a browser brings back.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// The claims that the library has no name for.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct OtherClaims(Map<String, Value>);

impl AdditionalClaims for OtherClaims {}

type SignedToken =
    IdToken<OtherClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

type Tokens = StandardTokenResponse<
    IdTokenFields<
        OtherClaims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

type Party = Client<
    OtherClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why nobody is known yet.
enum Trouble {
    /// The provider does not answer, or not as one does.
    Away(anyhow::Error),
    /// What was brought does not hold.
    Refused(anyhow::Error),
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away(error) => {
                tracing::warn!(error = format!("{error:#}"), "the provider of identities does not answer");
                Self::new(
                    Code::ProviderUnavailable,
                    "the provider that you sign in with does not answer as it should",
                    "Try again in a moment. Whoever has a password can sign in with it meanwhile; the gateway's log says more.",
                )
            }
            Trouble::Refused(error) => {
                tracing::warn!(error = format!("{error:#}"), "somebody came back from the provider in vain");
                Self::new(
                    Code::Unauthenticated,
                    "what you bring from the provider does not hold",
                    "Begin again at `/signin`, in one window. If it happens again, the gateway's log says why.",
                )
            }
        }
    }
}

/// The provider of identities. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Provider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ProviderConfig,
    issuer: Url,
    redirect: RedirectUrl,
    discovery: Discovery,
    http: Http,
}

impl Provider {
    /// With what is set about it, once that is checked. Asks it nothing yet.
    pub(crate) fn new(config: ProviderConfig, public_url: &PublicUrl) -> anyhow::Result<Self> {
        let issuer = Url::parse(&config.issuer)?;
        let http = Http::new(is_loopback(&issuer)).context("a client for the provider")?;
        let redirect = RedirectUrl::new(format!("{public_url}{CALLBACK}"))?;
        let discovery = Discovery::new(IssuerUrl::new(config.issuer.clone())?);
        Ok(Self(Arc::new(Inner { config, issuer, redirect, discovery, http })))
    }

    /// What people know it by.
    pub(crate) fn host(&self) -> &str {
        self.0.issuer.host_str().unwrap_or_default()
    }

    /// Where a browser begins an attempt.
    pub(crate) async fn begin(&self, attempt: &Attempt) -> Result<Url, Fault> {
        let known = self.0.discovery.known(&self.0.http).await.map_err(Trouble::Away)?;
        let (state, nonce) = (CsrfToken::new(attempt.state()), Nonce::new(attempt.nonce()));
        let verifier = PkceCodeVerifier::new(attempt.verifier());
        let party = self.party(&known);
        let more = self.0.config.scopes.iter().map(String::as_str);
        let scopes = self.0.config.rules.scope().into_iter().chain(more);
        let (url, ..) = party
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .set_redirect_uri(Cow::Borrowed(&self.0.redirect))
            .add_scopes(scopes.map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url)
    }

    /// Who it is that comes back.
    pub(crate) async fn finish(&self, attempt: &Attempt, answer: Answer) -> Result<Person, Fault> {
        let says_who = answer.iss.is_some();
        let code = self.check_answer(attempt, answer)?;
        let known = self.0.discovery.known(&self.0.http).await.map_err(Trouble::Away)?;
        if known.additional_metadata().authorization_response_iss_parameter_supported && !says_who {
            return Err(Trouble::Refused(anyhow!(
                "the answer does not say whose it is, as this provider's do"
            ))
            .into());
        }
        let claims = self.claims(known, attempt, code).await?;
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let identity = Identity::new(&self.0.config.issuer, subject)
            .map_err(|error| Trouble::Refused(anyhow!("{error}: {subject:?}")))?;
        let rules = &self.0.config.rules;
        Ok(Person {
            identity,
            name: rules.name(&claims),
            role: rules.role(&claims),
            follows: rules.role_claim.is_some(),
        })
    }

    /// Looks at what the browser brings before anybody is asked.
    fn check_answer(&self, attempt: &Attempt, answer: Answer) -> Result<AuthorizationCode, Fault> {
        let refused = |why: &str| Fault::from(Trouble::Refused(anyhow!("{}", why.to_owned())));
        let Answer { state, code, iss, error } = answer;
        let long = [&state, &code, &iss, &error].into_iter().flatten().any(|text| text.len() > MAX_BYTES);
        if long {
            return Err(refused("it is too long"));
        }
        if !state.is_some_and(|state| attempt.matches(&state)) {
            return Err(refused("the state is not the one that the browser left with"));
        }
        // RFC 9207: what another provider answered is not taken to this one.
        if iss.is_some_and(|iss| iss != self.0.config.issuer) {
            return Err(refused("the answer is another provider's"));
        }
        if let Some(error) = error {
            let known = error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let why = if known { error } else { "an error that is none".to_owned() };
            tracing::info!(error = why, "the provider let somebody not in");
            let hint = "Begin again at `/signin`; whoever runs the provider knows more.";
            return Err(Fault::new(Code::Unauthenticated, format!("the provider says `{why}`"), hint));
        }
        code.map(AuthorizationCode::new).ok_or_else(|| refused("there is no code"))
    }

    /// What the provider says of whoever a code stands for.
    async fn claims(
        &self,
        known: Arc<Metadata>,
        attempt: &Attempt,
        code: AuthorizationCode,
    ) -> Result<Claims, Trouble> {
        let party = self.party(&known);
        let caller = self.0.http.caller();
        let request = party.exchange_code(code).map_err(|error| Trouble::Away(error.into()))?;
        let request = request
            .set_redirect_uri(Cow::Borrowed(&self.0.redirect))
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier()));
        let tokens = request.request_async(&caller).await.map_err(exchange_failed)?;
        let signed = tokens.id_token().ok_or_else(|| Trouble::Refused(anyhow!("there is no ID token")))?;
        let (party, mut claims) = self.verified(known, party, signed, attempt, &tokens).await?;
        let lacking = self.0.config.rules.wanted().any(|claim| claim_of(&claims, claim).is_none());
        if lacking && party.user_info_url().is_some() {
            let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
            let subject = SubjectIdentifier::new(subject.to_owned());
            let request = party
                .user_info(tokens.access_token().clone(), Some(subject))
                .map_err(|error| Trouble::Away(error.into()))?;
            let more: UserInfoClaims<OtherClaims, CoreGenderClaim> = request
                .request_async(&caller)
                .await
                .map_err(|error| Trouble::Away(anyhow::Error::new(error).context("its user info")))?;
            // What it signed comes first.
            for (name, value) in object(&more)? {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(claims)
    }

    /// The claims of a token that the provider signed for us, in this attempt, just now.
    async fn verified(
        &self,
        known: Arc<Metadata>,
        mut party: Party,
        signed: &SignedToken,
        attempt: &Attempt,
        tokens: &Tokens,
    ) -> Result<(Party, Claims), Trouble> {
        let nonce = Nonce::new(attempt.nonce());
        let wrong = signed.claims(&party.id_token_verifier(), &nonce).err();
        if matches!(wrong, Some(ClaimsVerificationError::SignatureVerification(_))) {
            // It may have other keys by now, or another of the same name.
            let newer = self.0.discovery.with_other_keys(&self.0.http, &known).await;
            if let Some(newer) = newer.map_err(Trouble::Away)? {
                party = self.party(&newer);
            }
        }
        let verifier = party.id_token_verifier();
        let refused = |error: anyhow::Error| Trouble::Refused(error.context("the ID token"));
        let claims = signed.claims(&verifier, &nonce).map_err(|error| refused(error.into()))?;
        if let Some(hash) = claims.access_token_hash() {
            let (alg, key) = signed
                .signing_alg()
                .and_then(|alg| Ok((alg, signed.signing_key(&verifier)?)))
                .map_err(|error| refused(error.into()))?;
            let token = AccessTokenHash::from_token(tokens.access_token(), alg, key);
            if token.map_err(|error| refused(error.into()))? != *hash {
                return Err(refused(anyhow!("it is for another access token")));
            }
        }
        let claims = object(claims)?;
        drop(verifier);
        Ok((party, claims))
    }

    /// Us, as the library has it.
    fn party(&self, known: &Metadata) -> Party {
        let config = &self.0.config;
        let secret = ClientSecret::new(config.client_secret.reveal().to_owned());
        let party = Party::from_provider_metadata(
            known.clone(),
            ClientId::new(config.client_id.clone()),
            Some(secret),
        );
        let ways = known.token_endpoint_auth_methods_supported();
        let takes = |way: CoreClientAuthMethod| ways.is_some_and(|ways| ways.contains(&way));
        // Where it says nothing, it takes the header.
        if takes(CoreClientAuthMethod::ClientSecretPost) && !takes(CoreClientAuthMethod::ClientSecretBasic) {
            party.set_auth_type(AuthType::RequestBody)
        } else {
            party
        }
    }
}

/// Claims as one object, whatever the library knows of them.
fn object(claims: &impl Serialize) -> Result<Claims, Trouble> {
    match serde_json::to_value(claims) {
        Ok(Value::Object(claims)) => Ok(claims),
        Ok(other) => Err(Trouble::Refused(anyhow!("the claims are {other}"))),
        Err(error) => Err(Trouble::Refused(error.into())),
    }
}

fn exchange_failed(
    error: RequestTokenError<HttpError, StandardErrorResponse<CoreErrorResponseType>>,
) -> Trouble {
    match error {
        // A code that was used, or is another's; or it does not know us, which its words say.
        RequestTokenError::ServerResponse(response) => {
            Trouble::Refused(anyhow!("the provider does not take the code: {response}"))
        }
        other => Trouble::Away(anyhow::Error::new(other).context("exchanging the code")),
    }
}
