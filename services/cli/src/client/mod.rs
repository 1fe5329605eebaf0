//! The client: what the commands of people use to talk to a gateway.
//!
//! Owns where the gateway is and what an answer means. Never decides anything about what it brings.

mod again;
mod answer;
mod connection;
mod events;
mod graphql;
mod http;
mod lines;
mod login;

use std::time::Duration;

use clap::Args;
use reqwest::{Method, RequestBuilder, Response, Url};

pub(crate) use again::PAUSE;
pub(crate) use answer::Failed;
pub(crate) use connection::{Connection, pages};
pub(crate) use events::Events;
pub(crate) use http::builder;
pub(crate) use login::LoginFile;

use crate::data_dir::{DataDir, DataDirOption, Endpoint};
use crate::failure::Complaint;

/// Where the gateway is.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerOption {
    /// The Patchwave to talk to [default: the one that runs with the data directory]
    #[arg(long, value_name = "URL", env = "PATCHWAVE_SERVER", hide_env_values = true)]
    server: Option<String>,

    /// What to show there in place of a login; better put it into the variable, which others on the machine cannot read
    #[arg(long, value_name = "TOKEN", env = "PATCHWAVE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A way to a gateway.
pub(crate) struct Client {
    http: reqwest::Client,
    place: Place,
    token: Option<String>,
    logins: Option<LoginFile>,
}

#[derive(Clone)]
enum Place {
    /// The user said where; the gateway of the data directory may be the very one.
    Given(Url, Option<DataDir>),
    /// It is written down in the data directory, anew at each start of the gateway.
    DataDir(DataDir),
}

impl Place {
    /// Whether it may turn out to speak HTTPS.
    fn may_be_secure(&self, logins: Option<&LoginFile>) -> bool {
        match self {
            Self::Given(url, _) => url.scheme() == "https",
            Self::DataDir(_) => {
                let newest = logins.and_then(|logins| logins.read().newest);
                newest.is_some_and(|url| url.starts_with("https:"))
            }
        }
    }
}

/// Where a gateway is, and what to show it.
struct Base {
    url: Url,
    token: Option<String>,
}

impl Client {
    /// Prepares a client; makes no connection.
    pub(crate) fn new(option: &ServerOption, data: &DataDirOption) -> anyhow::Result<Self> {
        let place = match &option.server {
            Some(text) => Place::Given(server_url(text)?, data.resolve().ok()),
            None => Place::DataDir(data.resolve()?),
        };
        let logins = LoginFile::of_user();
        let http = builder(place.may_be_secure(logins.as_ref()))
            .connect_timeout(Duration::from_secs(5))
            // A follower may hear nothing for long; a peer that is gone must show all the same.
            .tcp_keepalive(Duration::from_secs(15))
            .build()?;
        Ok(Self { http, place, token: option.token.clone(), logins })
    }

    /// The same way in the name of whoever has this token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.without_token() }
    }

    /// The same way with nothing to show but what is found.
    pub(crate) fn without_token(&self) -> Self {
        Self { token: None, http: self.http.clone(), place: self.place.clone(), logins: self.logins.clone() }
    }

    /// Where the gateway is right now, and what to show it: a token that was given, else that of the data directory, else
    /// that of a login.
    fn base(&self) -> Result<Base, Failed> {
        let logins = || self.logins.as_ref().map(LoginFile::read).unwrap_or_default();
        let (url, found) = match &self.place {
            Place::Given(url, data) => {
                let endpoint = data.as_ref().and_then(|data| data.gateway_endpoint().read());
                let is_own =
                    |own: &Endpoint| own.lives() && Url::parse(&own.url).is_ok_and(|own| own == *url);
                let own = endpoint.filter(is_own);
                let of_login = || logins().tokens.remove(url.as_str());
                (url.clone(), own.and_then(|own| own.token).or_else(of_login))
            }
            Place::DataDir(data) => match data.gateway_endpoint().read() {
                // Whoever has its address by now is another one, and the next gateway says where it is once it serves.
                Some(endpoint) if !endpoint.lives() => return Err(Failed::away(absent(data))),
                Some(endpoint) => (server_url(&endpoint.url).map_err(Failed::last)?, endpoint.token),
                None => {
                    let mut logins = logins();
                    let newest = logins.newest.ok_or_else(|| Failed::away(absent(data)))?;
                    (server_url(&newest).map_err(Failed::last)?, logins.tokens.remove(&newest))
                }
            },
        };
        Ok(Base { url, token: self.token.clone().or(found) })
    }

    /// The address that a login is kept under.
    pub(crate) fn address(&self) -> Result<Url, Failed> {
        Ok(self.base()?.url)
    }

    /// A request in the name of whoever has the token.
    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<(Url, RequestBuilder), Failed> {
        let Base { mut url, token } = self.base()?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url.clone());
        Ok((url, if let Some(token) = token { request.bearer_auth(token) } else { request }))
    }

    /// Sends a request, which is made anew for each try, when it is this client's turn.
    async fn send(
        &self,
        request: impl Fn() -> Result<(Url, RequestBuilder), Failed>,
    ) -> Result<Response, Failed> {
        again::in_turn(async || {
            let (url, request) = request()?;
            let answer = request.send().await.map_err(|error| self.unreachable(&url, error))?;
            answer::checked(answer).await
        })
        .await
    }

    /// Asks for what GraphQL cannot carry. The answer's body is still to come.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Response, Failed> {
        self.send(|| self.request(Method::GET, path, query)).await
    }

    /// Posts JSON, once.
    pub(crate) async fn post(&self, path: &[&str], body: &serde_json::Value) -> Result<Response, Failed> {
        self.send(|| {
            let (url, request) = self.request(Method::POST, path, &[])?;
            Ok((url, request.json(body)))
        })
        .await
    }

    /// Sends bytes, again and again while nobody answers: `body` makes them anew for each try, and sending them twice must
    /// do no more than sending them once.
    pub(crate) async fn put(
        &self,
        path: &[&str],
        length: u64,
        body: impl Fn() -> reqwest::Body,
    ) -> anyhow::Result<()> {
        let request = || {
            let (url, request) = self.request(Method::PUT, path, &[])?;
            let request = request.header(reqwest::header::CONTENT_LENGTH, length);
            Ok((url, request.body(body())))
        };
        again::again(async || self.send(&request).await).await.map(drop)
    }

    fn unreachable(&self, url: &Url, error: reqwest::Error) -> Failed {
        let origin = url.origin().ascii_serialization();
        if let Some(why) = http::tls_error(&error) {
            return Failed::last(Complaint::new(
                format!("{origin} cannot be trusted: {why}"),
                "SSL_CERT_FILE names a file of the certificate authorities to trust; where there is no TLS, write http://",
            ));
        }
        let complaint = Complaint::new(
            format!("no Patchwave answers at {origin}"),
            "start it with `patchwave up`, or name another with --server or PATCHWAVE_SERVER",
        );
        Failed::Away(anyhow::Error::from(error.without_url()).context(complaint))
    }
}

fn absent(data: &DataDir) -> Complaint {
    Complaint::new(
        format!("no Patchwave runs with the data directory {}", data.path().display()),
        "start it with `patchwave up`, name another data directory with --data-dir, or a server with --server",
    )
}

/// Reads a server's address as people write it.
fn server_url(text: &str) -> Result<Url, Complaint> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let complain = |why: &str| {
        Complaint::new(
            format!("`{text}` is not the address of a Patchwave: {why}"),
            "write it as http://host:7300, or as https://host where a proxy speaks TLS before it",
        )
    };
    let url = Url::parse(&with_scheme).map_err(|error| complain(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(complain(&format!("{other} is neither http nor https"))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        assert_eq!(server_url("localhost:7300").unwrap().as_str(), "http://localhost:7300/");
        assert_eq!(server_url("http://[::1]:7300/base").unwrap().as_str(), "http://[::1]:7300/base");
        assert_eq!(server_url("https://host").unwrap().as_str(), "https://host/");
        for bad in ["ftp://host", "http://", "a b"] {
            assert!(server_url(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn who_is_told_to_come_again_does() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refusal = r#"{"error":{"code":"rate-limited","message":"too many","hint":"wait"}}"#;
        let answers = [
            format!(
                "HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: {}\r\n\r\n{refusal}",
                refusal.len()
            ),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
            // Whoever cannot be let in for so long is not waited for.
            format!(
                "HTTP/1.1 429 Too Many Requests\r\nretry-after: 900\r\ncontent-length: {}\r\n\r\n{refusal}",
                refusal.len()
            ),
        ];
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(connection.read_u8().await.unwrap());
                }
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let place = Place::Given(server_url(&address.to_string()).unwrap(), None);
        let http = builder(false).build().unwrap();
        let client = Client { http, place, token: None, logins: None };
        assert_eq!(client.get(&["a"], &[]).await.unwrap().text().await.unwrap(), "ok");
        let refused: anyhow::Error = client.get(&["a"], &[]).await.unwrap_err().into();
        assert_eq!(refused.to_string(), "too many");
        server.await.unwrap();
    }

    #[test]
    fn a_path_is_put_below_the_address() {
        let http = builder(false).build().unwrap();
        let place = Place::Given(server_url("http://host/base/").unwrap(), None);
        let client = Client { http, place, token: Some("pw_1".to_owned()), logins: None };
        let query = [("fromLine", "1".to_owned())];
        let (url, request) = client.request(Method::GET, &["jobs", "a/b?c", "log"], &query).unwrap();
        assert_eq!(request.build().unwrap().headers()["authorization"], "Bearer pw_1");
        assert_eq!(url.as_str(), "http://host/base/jobs/a%2Fb%3Fc/log?fromLine=1");
    }
}
