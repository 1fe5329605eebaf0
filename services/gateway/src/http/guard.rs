//! The guard before everything: a web page must not act through its visitor's browser.
//!
//! Owns the checks on `Host` and `Origin`. Without access control, what a browser sends from another site would be carried
//! out; and a name that is made to lead here would make another site this one.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::answer::refuse;
use crate::fault::Fault;

/// Lets a request pass, or refuses it.
pub(super) async fn check(loopback: bool, request: Request, next: Next) -> Response {
    if let Err(fault) = admit(loopback, request.headers()) {
        return refuse(StatusCode::FORBIDDEN, &fault);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // What is shown comes from strangers' repositories: no browser shall take it for something else, or keep it.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn admit(loopback: bool, headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    if loopback && !is_loopback(host) {
        return Err(Fault::invalid(
            format!("the request is for the host `{host}`, which is not this one"),
            "Use 127.0.0.1 or localhost in the URL.",
        ));
    }
    let own =
        |origin: &str| origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host));
    if let Some(origin) = text(header::ORIGIN)
        && !own(origin)
    {
        return Err(Fault::invalid(
            format!("the request comes from a page of another site, `{origin}`"),
            "Web pages of other sites may not use this server.",
        ));
    }
    Ok(())
}

/// Whether a `Host` header names this machine to itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn admitted(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        admit(true, &headers).is_ok()
    }

    #[test]
    fn only_this_machine_and_its_own_pages_may_ask() {
        for host in ["localhost", "LOCALHOST:7300", "127.0.0.1:7300", "127.9.9.9", "[::1]:7300", "[::1]"] {
            assert!(admitted(host, None), "{host}");
        }
        for host in ["", "example.org", "127.0.0.1.example.org:7300", "10.0.0.1", "localhost.example.org"] {
            assert!(!admitted(host, None), "{host}");
        }
        assert!(admitted("localhost:7300", Some("http://localhost:7300")));
        for origin in ["http://localhost:7301", "https://example.org", "null", ""] {
            assert!(!admitted("localhost:7300", Some(origin)), "{origin}");
        }
    }
}
