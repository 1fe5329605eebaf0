//! The guard before everything: a web page must not act through its visitor's browser.
//!
//! Owns the checks on `Host`, `Origin` and `Sec-Fetch-Site`. What a browser sends from another site would be carried out in
//! its user's name, with the user's cookie or because nobody is told apart; and a name that is made to lead here would make
//! another site this one.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Gateway;
use super::answer::refuse;
use crate::access::session;
use crate::fault::Fault;

/// From where a page asks, as browsers say it and no page can change.
const FETCH_SITE: &str = "sec-fetch-site";

/// Lets a request pass, or refuses it.
pub(super) async fn check(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    // A proxy on this machine passes on the name by which people know us.
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let public = gateway.access.public_url.as_ref().map(|url| url.authority().as_bytes());
    let loopback = gateway.loopback && (public.is_none() || public != host);
    if let Err(fault) = admit(loopback, request.method(), request.headers()) {
        return refuse(StatusCode::FORBIDDEN, &fault);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // What is shown comes from strangers' repositories: no browser shall take it for something else, or keep it.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn admit(loopback: bool, method: &Method, headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name: &str| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    for name in [header::HOST, header::ORIGIN] {
        // Whoever is in between may read another one than we do.
        if headers.get_all(&name).iter().count() > 1 {
            let message = format!("the request has more than one `{name}`");
            return Err(Fault::invalid(message, "Send each of these headers once."));
        }
    }
    let host = text(header::HOST.as_str()).unwrap_or_default();
    if loopback && !is_loopback(host) {
        return Err(Fault::invalid(
            format!("the request is for the host `{host}`, which is not this one"),
            "Use 127.0.0.1 or localhost in the URL.",
        ));
    }
    let own =
        |origin: &str| origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host));
    if let Some(origin) = text(header::ORIGIN.as_str())
        && !own(origin)
    {
        return Err(Fault::invalid(
            format!("the request comes from a page of another site, `{origin}`"),
            "Web pages of other sites may not use this server.",
        ));
    }
    // What is said on a WebSocket can do everything, whatever the method that opened it.
    if method.is_safe() && !headers.contains_key(header::UPGRADE) {
        return Ok(());
    }
    match text(FETCH_SITE) {
        Some("same-origin" | "none") => Ok(()),
        Some(site) => Err(Fault::invalid(
            format!("the request comes from a page of another site: its browser says `{site}`"),
            "Web pages of other sites may not use this server.",
        )),
        // A cookie is sent by itself: only a page of ours may let it do something.
        None if session(headers).is_some()
            && !headers.contains_key(header::AUTHORIZATION)
            && !headers.contains_key(header::ORIGIN) =>
        {
            Err(Fault::invalid(
                "the request has a session's cookie, and does not say from which page it comes",
                "Send `Origin`, as browsers do; programs show a token as `Authorization: Bearer …`.",
            ))
        }
        None => Ok(()),
    }
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
        admit(true, &Method::GET, &headers).is_ok()
    }

    fn posted(headers: &[(&'static str, &str)]) -> bool {
        let host = ("host", "localhost:7300");
        let pairs = [&[host][..], headers].concat();
        let headers = pairs.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        admit(true, &Method::POST, &headers.collect()).is_ok()
    }

    #[test]
    fn a_cookie_does_nothing_unless_a_page_of_ours_sends_it() {
        let cookie = ("cookie", "a=b; patchwave_session=pw_x");
        let own = ("origin", "http://localhost:7300");
        assert!(posted(&[]) && posted(&[("cookie", "a=b")]), "a program without a session");
        assert!(!posted(&[cookie]));
        assert!(posted(&[cookie, own]) && posted(&[cookie, ("sec-fetch-site", "same-origin")]));
        assert!(posted(&[cookie, ("authorization", "Bearer pw_x")]));
        for site in ["cross-site", "same-site", ""] {
            assert!(!posted(&[("sec-fetch-site", site)]), "{site}");
            assert!(!posted(&[cookie, own, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!posted(&[cookie, ("origin", "http://localhost:7301")]));
    }

    #[test]
    fn a_header_that_is_checked_comes_once() {
        let own = "http://localhost:7300";
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost:7300".parse().unwrap());
        headers.insert(header::ORIGIN, own.parse().unwrap());
        assert!(admit(true, &Method::GET, &headers).is_ok());
        for (name, value) in [(header::ORIGIN, own), (header::HOST, "localhost:7300")] {
            let mut headers = headers.clone();
            headers.append(name, value.parse().unwrap());
            assert!(admit(true, &Method::GET, &headers).is_err());
        }
    }

    #[test]
    fn a_web_socket_is_for_pages_of_ours() {
        let opened = |name: &'static str, value: &str| {
            let pairs =
                [("host", "localhost:7300"), ("upgrade", "websocket"), ("cookie", "patchwave_session=pw_x")];
            let pairs = pairs.into_iter().chain([(name, value)]);
            let headers = pairs
                .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap()));
            admit(true, &Method::GET, &headers.collect()).is_ok()
        };
        assert!(opened("origin", "http://localhost:7300"));
        assert!(!opened("origin", "https://example.org") && !opened("origin", "null"));
        assert!(!opened("sec-fetch-site", "cross-site"));
        assert!(!opened("accept", "*/*"), "it has a cookie and does not say from where");
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
