//! Lists that come page by page.

use serde::Deserialize;

use super::Failed;

/// The most entries that are asked for at once.
const PAGE: usize = 100;

/// One page of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connection<T> {
    /// The entries.
    pub(crate) nodes: Vec<T>,
    page_info: PageInfo,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

/// Which page is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// How many entries.
    pub(crate) first: usize,
    /// After which entry.
    pub(crate) after: Option<String>,
}

/// Reads pages until there are no more, or enough.
pub(crate) async fn pages<T>(
    limit: usize,
    mut fetch: impl AsyncFnMut(Page) -> Result<Connection<T>, Failed>,
) -> Result<Vec<T>, Failed> {
    let mut all = Vec::new();
    let mut after = None;
    while all.len() < limit {
        let page = fetch(Page { first: PAGE.min(limit - all.len()), after: after.clone() }).await?;
        all.extend(page.nodes);
        match page.page_info.end_cursor.filter(|_| page.page_info.has_next_page) {
            // A cursor that does not move would be read for ever.
            Some(next) if Some(&next) != after.as_ref() => after = Some(next),
            _ => break,
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_are_read_up_to_the_limit() {
        for (limit, expected) in [(0, 0), (7, 7), (100, 100), (150, 150), (1_000, 250)] {
            let read = pages(limit, async |page: Page| {
                let start = page.after.map_or(0, |cursor| cursor.parse::<usize>().unwrap());
                let end = (start + page.first).min(250);
                let page_info = PageInfo { has_next_page: end < 250, end_cursor: Some(end.to_string()) };
                Ok(Connection { nodes: (start..end).collect(), page_info })
            });
            assert_eq!(read.await.unwrap(), (0..expected).collect::<Vec<_>>());
        }
    }
}
