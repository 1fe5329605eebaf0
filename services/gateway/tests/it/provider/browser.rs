//! A browser, as far as signing in elsewhere needs one: it goes where it is sent, and keeps and sends cookies by their
//! `SameSite` rules, which is what that way stumbles over.

use std::collections::HashMap;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, StatusCode, Url};
use serde_json::{Value, json};

/// How often it is sent elsewhere at most.
const REDIRECTS: usize = 10;

#[derive(Clone)]
pub(crate) struct Browser {
    client: Client,
    /// By origin and name. Each origin counts as a site of its own.
    cookies: HashMap<(String, String), Cookie>,
}

#[derive(Clone)]
struct Cookie {
    value: String,
    strict: bool,
    path: String,
}

/// What a browser shows.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Page {
    /// Where it goes on to by itself.
    pub(crate) fn refresh(&self) -> Option<Url> {
        let (_, rest) = self.text.split_once("http-equiv=\"refresh\" content=\"0;url=")?;
        Some(self.url.join(rest.split('"').next()?).unwrap())
    }
}

impl Browser {
    pub(crate) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { client, cookies: HashMap::new() }
    }

    /// Somebody types an address.
    pub(crate) async fn open(&mut self, url: &str) -> Page {
        self.go(url.parse().unwrap(), None, |_| false).await
    }

    /// Somebody signs in with the provider, and the page goes on by itself.
    pub(crate) async fn sign_in(&mut self, gateway: &str) -> Page {
        let form = self.open(&format!("{gateway}/signin")).await;
        assert!(form.text.contains("<a href=\"/signin/oidc\">Sign in with 127.0.0.1</a>"), "{}", form.text);
        let page = self.follow(&form, "/signin/oidc").await;
        match page.refresh() {
            Some(_) => self.follow(&page, "/signin").await,
            None => page,
        }
    }

    /// Signs in as far as the way back, which is not taken.
    pub(crate) async fn stop_before_coming_back(&mut self, gateway: &str) -> Url {
        let url = format!("{gateway}/signin/oidc").parse().unwrap();
        self.go(url, None, |url| url.path() == "/signin/oidc/callback").await.url
    }

    /// Begins to sign in; says where the provider is asked, which is not done.
    pub(crate) async fn leave(&mut self, gateway: &str) -> Url {
        let url: Url = format!("{gateway}/signin/oidc").parse().unwrap();
        let here = url.origin();
        self.go(url, None, |url| url.origin() != here).await.url
    }

    /// Another site leads here.
    pub(crate) async fn be_led_to(&mut self, url: &Url) -> Page {
        self.go(url.clone(), Some("https://elsewhere.example.org".to_owned()), |_| false).await
    }

    /// Somebody follows a link of a page.
    async fn follow(&mut self, page: &Page, link: &str) -> Page {
        let from = page.url.origin().ascii_serialization();
        self.go(page.url.join(link).unwrap(), Some(from), |_| false).await
    }

    /// Whether anything of a gateway's session is kept.
    pub(crate) fn has_session(&self) -> bool {
        self.cookies.keys().any(|(_, name)| name == "patchwave_session")
    }

    /// Who a gateway takes this browser for.
    pub(crate) async fn viewer(&self, gateway: &str) -> Value {
        let url: Url = format!("{gateway}/graphql").parse().unwrap();
        let origin = url.origin().ascii_serialization();
        let cookie = self.cookies_for(&url, true);
        let query = json!({ "query": "{ viewer { name role via } }" });
        let request = self.client.post(url).header(COOKIE, cookie).header("origin", origin).json(&query);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["data"]["viewer"].clone()
    }

    async fn go(&mut self, mut url: Url, from: Option<String>, stop: impl Fn(&Url) -> bool) -> Page {
        let mut same_site = from.is_none_or(|from| from == url.origin().ascii_serialization());
        for _ in 0..REDIRECTS {
            if stop(&url) {
                return Page { url, status: StatusCode::OK, text: String::new() };
            }
            let site = if same_site { "same-origin" } else { "cross-site" };
            let request = self.client.get(url.clone()).header("sec-fetch-site", site);
            let request = request.header(COOKIE, self.cookies_for(&url, same_site));
            let answer = request.header("accept", "text/html").send().await.unwrap();
            for cookie in answer.headers().get_all(SET_COOKIE) {
                self.keep(&url, cookie.to_str().unwrap());
            }
            let status = answer.status();
            let Some(next) = answer.headers().get(LOCATION).filter(|_| status.is_redirection()) else {
                return Page { url, status, text: answer.text().await.unwrap() };
            };
            let next = url.join(next.to_str().unwrap()).unwrap();
            same_site &= next.origin() == url.origin();
            url = next;
        }
        panic!("it is sent on and on, now to {url}");
    }

    fn keep(&mut self, url: &Url, text: &str) {
        let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
        let (name, value) = pair.split_once('=').unwrap();
        let attribute = |wanted: &str| {
            let mut all =
                attributes.split(';').map(|one| one.trim().split_once('=').unwrap_or((one.trim(), "")));
            all.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
        };
        let path = attribute("path").unwrap_or("/".to_owned());
        let key = (url.origin().ascii_serialization(), name.to_owned());
        if value.is_empty() || attribute("max-age").is_some_and(|age| age == "0") {
            self.cookies.remove(&key);
            return;
        }
        let strict = attribute("samesite").is_some_and(|rule| rule.eq_ignore_ascii_case("strict"));
        self.cookies.insert(key, Cookie { value: value.to_owned(), strict, path });
    }

    fn cookies_for(&self, url: &Url, same_site: bool) -> String {
        let origin = url.origin().ascii_serialization();
        let sent = self.cookies.iter().filter(|((of, _), cookie)| {
            *of == origin && (same_site || !cookie.strict) && url.path().starts_with(&cookie.path)
        });
        sent.map(|((_, name), cookie)| format!("{name}={}", cookie.value)).collect::<Vec<_>>().join("; ")
    }
}
