//! The client: what the commands of people use to talk to a gateway.
//!
//! Owns where the gateway is and what an answer means. Never decides anything about what it brings.

mod again;
mod answer;
mod connection;
mod graphql;

use std::time::Duration;

use clap::Args;
use reqwest::{Response, Url};

pub(crate) use answer::Failed;
pub(crate) use connection::{Connection, pages};

use crate::data_dir::{DataDir, DataDirOption};
use crate::failure::Complaint;

/// Where the gateway is.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerOption {
    /// The Patchwave to talk to [default: the one that runs with the data directory]
    #[arg(long, value_name = "URL", env = "PATCHWAVE_SERVER", hide_env_values = true)]
    server: Option<String>,
}

/// A way to a gateway.
pub(crate) struct Client {
    http: reqwest::Client,
    place: Place,
}

enum Place {
    /// The user said where.
    Given(Url),
    /// It is written down in the data directory, anew at each start of the gateway.
    DataDir(DataDir),
}

impl Client {
    /// Prepares a client; makes no connection.
    pub(crate) fn new(option: &ServerOption, data: &DataDirOption) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .user_agent(concat!("patchwave/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            // A follower may hear nothing for long; a peer that is gone must show all the same.
            .tcp_keepalive(Duration::from_secs(15))
            .build()?;
        let place = match &option.server {
            Some(text) => Place::Given(server_url(text)?),
            None => Place::DataDir(data.resolve()?),
        };
        Ok(Self { http, place })
    }

    /// Where the gateway is right now.
    fn base(&self) -> Result<Url, Failed> {
        match &self.place {
            Place::Given(url) => Ok(url.clone()),
            Place::DataDir(data) => {
                let endpoint = data.gateway_endpoint().read().ok_or_else(|| Failed::away(absent(data)))?;
                server_url(&endpoint.url).map_err(Failed::last)
            }
        }
    }

    fn url(&self, path: &[&str], query: &[(&str, String)]) -> Result<Url, Failed> {
        let mut url = self.base()?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// Asks for what GraphQL cannot carry. The answer's body is still to come.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Response, Failed> {
        let url = self.url(path, query)?;
        let answer = self.http.get(url.clone()).send().await;
        answer::checked(answer.map_err(|error| self.unreachable(&url, error))?).await
    }

    /// Sends bytes, again and again while nobody answers: `body` makes them anew for each try, and sending them twice must
    /// do no more than sending them once.
    pub(crate) async fn put(
        &self,
        path: &[&str],
        length: u64,
        body: impl Fn() -> reqwest::Body,
    ) -> anyhow::Result<()> {
        let send = async || {
            let url = self.url(path, &[])?;
            let request = self.http.put(url.clone()).header(reqwest::header::CONTENT_LENGTH, length);
            let answer = request.body(body()).send().await;
            answer::checked(answer.map_err(|error| self.unreachable(&url, error))?).await
        };
        again::again(send).await.map(drop)
    }

    fn unreachable(&self, url: &Url, error: reqwest::Error) -> Failed {
        let origin = url.origin().ascii_serialization();
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
            "write it as http://host:7300",
        )
    };
    let url = Url::parse(&with_scheme).map_err(|error| complain(&error.to_string()))?;
    match url.scheme() {
        "http" => Ok(url),
        "https" => Err(complain("this version speaks HTTP alone; reach a distant one through a tunnel")),
        other => Err(complain(&format!("{other} is not http"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        assert_eq!(server_url("localhost:7300").unwrap().as_str(), "http://localhost:7300/");
        assert_eq!(server_url("http://[::1]:7300/base").unwrap().as_str(), "http://[::1]:7300/base");
        for bad in ["https://host", "ftp://host", "http://", "a b"] {
            assert!(server_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_put_below_the_address() {
        let http = reqwest::Client::new();
        let client = Client { http, place: Place::Given(server_url("http://host/base/").unwrap()) };
        let url = client.url(&["jobs", "a/b?c", "log"], &[("fromLine", "1".into())]).unwrap();
        assert_eq!(url.as_str(), "http://host/base/jobs/a%2Fb%3Fc/log?fromLine=1");
    }
}
