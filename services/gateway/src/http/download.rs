//! Downloads: things whose bytes are settled, as files.
//!
//! Owns what a client may say about them: which part it wants, and which version it has. A digest is the version, so that a
//! part never belongs to other bytes than the rest. Never reads the bytes.

use std::ops::Range;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use events::blob::Sha256;
use events::rejection::Code;
use http_range_header::{RangeUnsatisfiableError, parse_range_header};

use super::answer::refuse;
use crate::fault::Fault;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const DIFF: &str = "text/x-diff; charset=utf-8";
pub(super) const TAR_GZIP: &str = "application/gzip";
pub(super) const TAR_ZSTD: &str = "application/zstd";

/// What may be packed on its way; the rest is packed already, or has to come at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packable;

/// Whether a client shall show a thing or keep it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Disposition {
    Inline,
    Attachment,
}

/// A thing to be downloaded.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) content_type: &'static str,
    /// What it is called where it becomes a file: letters, digits, dots, hyphens and underscores.
    pub(super) name: String,
    pub(super) disposition: Disposition,
    /// Its digest and its length.
    pub(super) version: (Sha256, u64),
    /// Whether a part of it can be had.
    pub(super) in_parts: bool,
}

/// Which bytes are wanted, from the first to the one behind the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    Part(Range<u64>),
}

impl Download {
    /// What a request wants of it; or the answer, where none of its bytes are needed for that.
    pub(super) fn wanted(&self, request: &Parts) -> Result<Wanted, Box<Response>> {
        let headers = &request.headers;
        if self.is_known(headers) {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            response.headers_mut().insert(header::ETAG, self.etag());
            return Err(Box::new(response));
        }
        let Some(range) = self.range(request) else { return Ok(Wanted::All) };
        let (_, size) = self.version;
        let parsed = parse_range_header(range).and_then(|ranges| ranges.validate(size));
        match parsed.as_deref() {
            Ok([range]) => Ok(Wanted::Part(*range.start()..range.end() + 1)),
            Err(RangeUnsatisfiableError::Unsatisfiable) => Err(Box::new(self.nothing_there(range))),
            // Several parts, or none that can be read: whoever asks so understands the whole, too.
            Ok(_) | Err(_) => Ok(Wanted::All),
        }
    }

    /// The range that a request asks for, if it is one of these very bytes.
    fn range<'a>(&self, request: &'a Parts) -> Option<&'a str> {
        if !self.in_parts || request.method != Method::GET {
            return None;
        }
        let of_another = request.headers.get(header::IF_RANGE).is_some_and(|version| *version != self.etag());
        let range = request.headers.get(header::RANGE)?.to_str().ok()?;
        (!of_another).then_some(range)
    }

    /// Whether the client says that it has it already.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let etag = self.etag();
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        known
            .flat_map(|text| text.split(','))
            .map(|one| one.trim().trim_start_matches("W/"))
            .any(|one| one == "*" || one.as_bytes() == etag.as_bytes())
    }

    fn nothing_there(&self, range: &str) -> Response {
        let (_, size) = self.version;
        let message = format!("there is nothing at `{range}`: it has {size} bytes");
        let fault = Fault::new(Code::InvalidRequest, message, "Ask for bytes that are there, from 0 on.");
        let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE, &fault);
        response.headers_mut().insert(header::CONTENT_RANGE, text(&format!("bytes */{size}")));
        response
    }

    /// The answer with the bytes that are wanted.
    pub(super) fn response(&self, wanted: &Wanted, body: Body) -> Response {
        let (_, size) = self.version;
        let mut response = body.into_response();
        let length = match wanted {
            Wanted::All => {
                if !matches!(self.content_type, TAR_GZIP | TAR_ZSTD) {
                    response.extensions_mut().insert(Packable);
                }
                size
            }
            Wanted::Part(Range { start, end }) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let range = format!("bytes {start}-{}/{size}", end.saturating_sub(1));
                response.headers_mut().insert(header::CONTENT_RANGE, text(&range));
                end - start
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::ETAG, self.etag());
        if self.in_parts {
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        headers.extend(file(self.content_type, self.disposition, &self.name));
        response
    }

    fn etag(&self) -> HeaderValue {
        text(&format!("\"{}\"", self.version.0))
    }
}

/// What a client is told about a file. The name has letters, digits, dots, hyphens and underscores alone.
pub(super) fn file(
    content_type: &'static str,
    disposition: Disposition,
    name: &str,
) -> [(HeaderName, HeaderValue); 2] {
    let how = match disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    };
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_DISPOSITION, text(&format!("{how}; filename=\"{name}\""))),
    ]
}

/// Says of what was packed on its way that its bytes are not the ones that the digest is of.
pub(super) async fn weaken(mut response: Response) -> Response {
    if response.headers().contains_key(header::CONTENT_ENCODING)
        && let Some(etag) = response.headers().get(header::ETAG)
    {
        let weak = text(&format!("W/{}", etag.to_str().unwrap_or_default()));
        response.headers_mut().insert(header::ETAG, weak);
    }
    response
}

/// Text of ours: digits, letters and punctuation of ASCII.
fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use axum::http::Request;

    use super::*;

    fn wanted(size: u64, headers: &[(&str, &str)]) -> Result<Wanted, u16> {
        let version = (Sha256::from_bytes(&[7; 32]), size);
        let (name, disposition) = ("a.log".to_owned(), Disposition::Inline);
        let download = Download { content_type: TEXT, name, disposition, version, in_parts: true };
        let request = headers.iter().fold(Request::builder(), |request, (name, value)| {
            request.header(*name, value.replace("ETAG", download.etag().to_str().unwrap()))
        });
        let (parts, ()) = request.body(()).unwrap().into_parts();
        download.wanted(&parts).map_err(|response| response.status().as_u16())
    }

    #[test]
    fn a_part_is_what_the_range_says() {
        for (range, expected) in [
            ("bytes=0-0", Ok(Wanted::Part(0..1))),
            ("bytes=2-", Ok(Wanted::Part(2..10))),
            ("bytes=-3", Ok(Wanted::Part(7..10))),
            ("bytes=-30", Ok(Wanted::Part(0..10))),
            ("bytes=8-99", Ok(Wanted::Part(8..10))),
            ("bytes=10-", Err(416)),
            ("bytes=-0", Err(416)),
            ("bytes=0-1,4-5", Ok(Wanted::All)),
            ("bytes=5-2", Ok(Wanted::All)),
            ("lines=1-2", Ok(Wanted::All)),
        ] {
            assert_eq!(wanted(10, &[("range", range)]), expected, "{range}");
        }
        assert_eq!(wanted(0, &[("range", "bytes=0-")]), Err(416));
        assert_eq!(wanted(0, &[]), Ok(Wanted::All));
    }

    #[test]
    fn a_part_belongs_to_the_version_that_the_client_has() {
        let range = ("range", "bytes=2-3");
        assert_eq!(wanted(10, &[range, ("if-range", "ETAG")]), Ok(Wanted::Part(2..4)));
        for other in ["\"another\"", "W/ETAG", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(wanted(10, &[range, ("if-range", other)]), Ok(Wanted::All), "{other}");
        }
        for known in ["ETAG", "W/ETAG", "\"a\", ETAG", "*"] {
            assert_eq!(wanted(10, &[("if-none-match", known)]), Err(304), "{known}");
        }
        assert_eq!(wanted(10, &[("if-none-match", "\"another\"")]), Ok(Wanted::All));
    }
}
