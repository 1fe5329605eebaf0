//! A browser, as far as signing in needs one: it goes where it is sent, keeps and sends cookies by their `SameSite` rules, and
//! heeds where a page lets its forms lead to and what it lets them say of it. Each request is a connection of its own.

use std::collections::HashMap;

use reqwest::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, REFERRER_POLICY, SET_COOKIE,
};
use reqwest::{Client, Method, StatusCode, Url};
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
    policy: String,
    referrer_policy: String,
}

impl Page {
    /// A page with nothing on it.
    fn blank(url: Url) -> Self {
        let (text, policy, referrer_policy) = Default::default();
        Self { url, status: StatusCode::OK, text, policy, referrer_policy }
    }

    /// The fields of its form that nobody sees.
    fn hidden(&self) -> Vec<(String, String)> {
        let fields = self.text.split("<input type=\"hidden\" name=\"").skip(1);
        let field = |text: &str| {
            let (name, rest) = text.split_once("\" value=\"").unwrap();
            (name.to_owned(), rest.split('"').next().unwrap().to_owned())
        };
        fields.map(field).collect()
    }

    /// Whether its policy lets a form lead to a URL.
    pub(crate) fn lets_forms_lead_to(&self, url: &Url) -> bool {
        let of_forms = self.policy.split(';').find_map(|rule| rule.trim().strip_prefix("form-action "));
        let origin = url.origin();
        of_forms.unwrap().split(' ').any(|one| match one {
            "'self'" => origin == self.url.origin(),
            other => Url::parse(other).unwrap().origin() == origin,
        })
    }

    /// Where it goes on to by itself.
    pub(crate) fn refresh(&self) -> Option<Url> {
        let (_, rest) = self.text.split_once("http-equiv=\"refresh\" content=\"0;url=")?;
        Some(self.url.join(&unescaped(rest.split('"').next()?)).unwrap())
    }
}

impl Browser {
    pub(crate) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0);
        let client = client.build().unwrap();
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
        self.sign_in_from(&form).await
    }

    /// The same from a page that leads there.
    pub(crate) async fn sign_in_from(&mut self, form: &Page) -> Page {
        let (_, link) = form.text.split_once("<a href=\"/signin/oidc").unwrap();
        let query = unescaped(link.split('"').next().unwrap());
        let page = self.follow(form, &format!("/signin/oidc{query}")).await;
        match page.refresh() {
            Some(next) => self.follow(&page, next.as_str()).await,
            None => page,
        }
    }

    /// Somebody sends a page's form, with these fields beside those that nobody sees. Where that leads to another origin, which
    /// the page's policy must allow, the page is blank and only its address counts.
    pub(crate) async fn send_form(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let url = page.url.join(action).unwrap();
        assert!(page.lets_forms_lead_to(&url), "{}", page.policy);
        let hidden = page.hidden();
        let hidden = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut form = url.clone();
        form.query_pairs_mut().clear().extend_pairs(hidden.chain(fields.iter().copied()));
        let form = form.query().unwrap().to_owned();
        let origin = page.url.origin().ascii_serialization();
        let said = if page.referrer_policy == "no-referrer" { "null" } else { &origin };
        let request = self.client.request(Method::POST, url.clone()).header("sec-fetch-site", "same-origin");
        let request = request.header(ORIGIN, said).header(COOKIE, self.cookies_for(&url, true));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.unwrap();
        match self.take(&url, &answer) {
            None => shown(url, answer).await,
            Some(next) => {
                assert!(page.lets_forms_lead_to(&next), "{next}: {}", page.policy);
                if next.origin() == url.origin() {
                    self.go(next, Some(origin), |_| false).await
                } else {
                    Page::blank(next)
                }
            }
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
                return Page::blank(url);
            }
            let site = if same_site { "same-origin" } else { "cross-site" };
            let request = self.client.get(url.clone()).header("sec-fetch-site", site);
            let request = request.header(COOKIE, self.cookies_for(&url, same_site));
            let answer = request.header("accept", "text/html").send().await.unwrap();
            let Some(next) = self.take(&url, &answer) else { return shown(url, answer).await };
            same_site &= next.origin() == url.origin();
            url = next;
        }
        panic!("it is sent on and on, now to {url}");
    }

    /// Keeps the cookies of an answer; says where it leads.
    fn take(&mut self, url: &Url, answer: &reqwest::Response) -> Option<Url> {
        for cookie in answer.headers().get_all(SET_COOKIE) {
            self.keep(url, cookie.to_str().unwrap());
        }
        let next = answer.headers().get(LOCATION).filter(|_| answer.status().is_redirection())?;
        Some(url.join(next.to_str().unwrap()).unwrap())
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

/// An address as it stands in a page.
fn unescaped(text: &str) -> String {
    text.replace("&amp;", "&")
}

async fn shown(url: Url, answer: reqwest::Response) -> Page {
    let header = |name| {
        let value = answer.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let (policy, referrer_policy) = (header(CONTENT_SECURITY_POLICY), header(REFERRER_POLICY));
    Page { url, status: answer.status(), text: answer.text().await.unwrap(), policy, referrer_policy }
}
