//! The public URL: where people reach this gateway, whatever stands before it.
//!
//! Owns what such a URL may be. It is told and never guessed from a request: what a request says of itself can be anybody's.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// `https://patchwave.example.org`, say: a scheme, a host and perhaps a port, and nothing after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

/// The text is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `https://HOST` or `http://HOST`, with a port perhaps and nothing after it")]
pub struct InvalidPublicUrl(pub String);

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPublicUrl> {
        let invalid = || InvalidPublicUrl(text.to_owned());
        let url = Url::parse(text).map_err(|_| invalid())?;
        let origin = url.origin().ascii_serialization();
        let whole = text.strip_suffix('/').unwrap_or(text);
        let is_web = matches!(url.scheme(), "https" | "http") && url.has_host();
        if is_web && url.as_str() == format!("{origin}/") && !whole.ends_with('/') {
            return Ok(Self(origin));
        }
        Err(invalid())
    }
}

impl PublicUrl {
    /// Whether browsers reach it by TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The host, and the port if it is not the scheme's: what browsers send as `Host`.
    pub(crate) fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// Whether nobody between a browser and it can read along: TLS, or this machine alone.
    pub(crate) fn is_private(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| is_private(&url))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether what goes to this URL is read by nobody else on its way.
pub(super) fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// Whether it leads to this machine itself.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn it_ends_with_the_host_or_the_port() {
        for (text, kept) in [
            ("https://patchwave.example.org", "https://patchwave.example.org"),
            ("https://patchwave.example.org:443/", "https://patchwave.example.org"),
            ("http://127.0.0.1:7300", "http://127.0.0.1:7300"),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!(
                (url.to_string(), url.authority()),
                (kept.to_owned(), kept.split('/').nth(2).unwrap())
            );
        }
        for bad in [
            "",
            "patchwave.example.org",
            "https://patchwave.example.org/patchwave",
            "https://patchwave.example.org//",
            "https://patchwave.example.org?a=b",
            "https://patchwave.example.org#a",
            "https://anna@patchwave.example.org",
            "ftp://patchwave.example.org",
        ] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn in_the_clear_it_is_private_on_this_machine_alone() {
        for (text, private) in [
            ("https://example.org", true),
            ("http://localhost:1", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:7300", true),
            ("http://example.org", false),
            ("http://localhost.example.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().is_private(), private, "{text}");
        }
    }
}
