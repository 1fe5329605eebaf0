//! Text without the sequences that colour a terminal and move its cursor.
//!
//! Owns that a sequence may begin in one part and end in another. Line feeds, carriage returns and tabs stay.

use anstream::adapter::StripBytes;
use axum::body::Bytes;
use futures::stream::{Stream, StreamExt as _};
use futures::{FutureExt as _, TryStreamExt as _, future};

use crate::fault::Fault;

/// The same stream without them.
pub(crate) fn strip(
    stream: impl Stream<Item = Result<Bytes, Fault>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Fault>> + Send + 'static {
    let parts = stream.scan(StripBytes::new(), |strip, part| {
        let part = part.map(|part| Bytes::from(strip.strip_next(&part).collect::<Vec<_>>().concat()));
        future::ready(part).map(Some)
    });
    parts.try_filter(|part| future::ready(!part.is_empty()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use futures::stream;
    use proptest::prelude::*;

    use super::*;

    fn stripped(text: &[u8], at: usize) -> Vec<u8> {
        let parts = [&text[..at], &text[at..]].map(|part| Ok(Bytes::copy_from_slice(part)));
        let parts: Result<Vec<Bytes>, Fault> =
            strip(stream::iter(parts)).try_collect().now_or_never().unwrap();
        parts.unwrap().concat()
    }

    #[test]
    fn what_is_not_to_be_seen_goes_and_all_else_stays() {
        let coloured = "\x1b[1;31mred\x1b[0m\tü\r\n\x1b]8;;http://a\x07link\x1b]8;;\x1b\\ \x1b[2K10 %\n";
        for at in 0..=coloured.len() {
            let plain = stripped(coloured.as_bytes(), at);
            assert_eq!(String::from_utf8(plain).unwrap(), "red\tü\r\nlink 10 %\n", "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_a_part_ends(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>()) {
            let at = at.index(bytes.len() + 1);
            prop_assert_eq!(stripped(&bytes, at), stripped(&bytes, 0));
        }

        #[test]
        fn plain_text_stays_as_it_is(text in "[a-zA-Z0-9 äöü€\n\t]*") {
            prop_assert_eq!(stripped(text.as_bytes(), 0), text.as_bytes());
        }
    }
}
