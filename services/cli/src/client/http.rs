//! The HTTP client that every request of this program goes out through.
//!
//! Owns what is trusted: for HTTPS the certificate authorities of this machine, or those that `SSL_CERT_FILE` names. Follows
//! nobody who sends it elsewhere, since what it shows is for one server alone.

use std::error::Error;
use std::io;

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;

/// Prepares a client. One that is not `secure` speaks no HTTPS: to read the certificate authorities takes longer than most
/// requests do.
pub(crate) fn builder(secure: bool) -> ClientBuilder {
    // It may be there already: all clients of this program have the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .user_agent(concat!("patchwave/", env!("CARGO_PKG_VERSION")));
    if secure { builder } else { builder.tls_certs_only([]) }
}

/// Why TLS did not come about, if that is why there is no answer.
pub(super) fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error passes over what it holds, and names only the causes of that.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_tls_is_found_wherever_it_is_held() {
        let inner = io::Error::other(rustls::Error::DecryptError);
        let outer = io::Error::other(inner);
        assert_eq!(tls_error(&outer), Some(&rustls::Error::DecryptError));
        assert_eq!(tls_error(&io::Error::other("no route")), None);
    }
}
