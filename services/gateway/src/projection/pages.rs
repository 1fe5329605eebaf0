//! Lists: by pages where they may be long, whole where they are short, and many of them in one statement.
//!
//! Owns the cursor. A page begins behind a row's key, never at a count, so that rows which come meanwhile neither hide
//! others nor show them twice.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::ops::Range;

use futures::stream::{self, Stream, TryStreamExt as _};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::{Bound, Load, Projection, Statement};
use crate::fault::Fault;

/// The most rows on one page.
pub(crate) const MAX_PAGE: i32 = 500;

/// An order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Order {
    /// The columns that make it and tell rows apart. An index has them, behind those of each filter.
    pub(crate) columns: &'static [&'static str],
    /// Whether the greatest comes first.
    pub(crate) descending: bool,
}

/// Rows that are read by pages.
pub(crate) trait Listed: for<'r> FromRow<'r, AnyRow> + Clone + Send + Sync + Unpin + 'static {
    /// The view.
    const VIEW: &'static str;
    /// The order where none is asked for.
    const ORDER: Order;

    /// The row's key in an order.
    fn key(&self, order: Order) -> Cursor;
}

/// Where a page begins: behind the row of this key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cursor(pub(crate) Vec<Bound>);

impl Cursor {
    /// The opaque text.
    pub(crate) fn encode(&self) -> String {
        let values: Vec<serde_json::Value> = self
            .0
            .iter()
            .map(|value| match value {
                Bound::Int(value) => (*value).into(),
                Bound::Text(value) => value.clone().into(),
            })
            .collect();
        hex::encode(serde_json::Value::from(values).to_string())
    }

    /// Reads the text of a list whose key looks like this one.
    fn decode(text: &str, columns: usize) -> Option<Self> {
        let values: Vec<serde_json::Value> = serde_json::from_slice(&hex::decode(text).ok()?).ok()?;
        let values: Option<Vec<Bound>> = values
            .into_iter()
            .map(|value| match value {
                serde_json::Value::String(text) => Some(Bound::Text(text)),
                other => other.as_i64().map(Bound::Int),
            })
            .collect();
        values.filter(|values| values.len() == columns).map(Self)
    }
}

/// Which list: rows that have these values, in an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct List {
    filters: Vec<(&'static str, Bound)>,
    /// A column that has one of these values; nothing: whichever it has.
    one_of: Option<(&'static str, Vec<Bound>)>,
    /// What it begins behind.
    behind: Option<Cursor>,
    pub(crate) order: Order,
}

impl List {
    /// All rows of a view.
    pub(crate) const fn of<T: Listed>() -> Self {
        Self { filters: Vec::new(), one_of: None, behind: None, order: T::ORDER }
    }

    /// Those with this value alone.
    pub(crate) fn with(mut self, column: &'static str, value: impl Into<Bound>) -> Self {
        self.filters.push((column, value.into()));
        self
    }

    /// Those with one of these values alone, which differ. Each is a walk of its own along an index.
    pub(crate) fn with_one_of(mut self, column: &'static str, values: Vec<Bound>) -> Self {
        self.one_of = Some((column, values));
        self
    }

    /// Without what comes up to this key.
    pub(crate) fn behind(mut self, key: Cursor) -> Self {
        self.behind = Some(key);
        self
    }

    /// The filters of each walk that it takes.
    fn walks(&self) -> Vec<Vec<(&'static str, Bound)>> {
        let with = |(column, value): (&'static str, &Bound)| {
            self.filters.iter().cloned().chain([(column, value.clone())]).collect()
        };
        match &self.one_of {
            None => vec![self.filters.clone()],
            Some((column, values)) => values.iter().map(|value| with((column, value))).collect(),
        }
    }

    /// In another order.
    pub(crate) const fn ordered(mut self, order: Order) -> Self {
        self.order = order;
        self
    }
}

/// Which page of which list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    list: List,
    first: i32,
    after: Option<Cursor>,
}

impl PageKey {
    /// Reads what a request says about a page.
    pub(crate) fn new(list: List, first: i32, after: Option<&str>) -> Result<Self, Fault> {
        check_first(first)?;
        let decode = |text: &str| {
            let columns = list.order.columns;
            let cursor = Cursor::decode(text, columns.len()).filter(|cursor| cursor.fits(columns));
            cursor.ok_or_else(foreign_cursor)
        };
        // What a list begins behind may have moved on since the page before.
        let after = after.map(decode).transpose()?.max(list.behind.clone());
        Ok(Self { list, first, after })
    }
}

fn check_first(first: i32) -> Result<usize, Fault> {
    let refused = || {
        Fault::invalid(
            format!("`first` is {first}"),
            format!("Ask for 1 to {MAX_PAGE} at once, and for the rest with `after`."),
        )
    };
    let good = (1..=MAX_PAGE).contains(&first).then_some(first);
    good.and_then(|first| usize::try_from(first).ok()).ok_or_else(refused)
}

fn foreign_cursor() -> Fault {
    Fault::invalid("`after` is not a cursor of this list", "Give an `endCursor` of the same list.")
}

/// The places of a page in a list that is held whole and has this length; `most` is the largest page of it.
pub(crate) fn places(
    first: i32,
    after: Option<&str>,
    (length, most): (usize, usize),
) -> Result<Range<usize>, Fault> {
    let first = check_first(first)?.min(most);
    let start = match after {
        Some(text) => {
            Cursor::decode(text, 1).and_then(|cursor| cursor.to_place()).ok_or_else(foreign_cursor)?
        }
        None => 0,
    };
    let start = start.min(length);
    Ok(start..start.saturating_add(first).min(length))
}

impl Cursor {
    /// Behind so many entries of a list that is held whole.
    pub(crate) fn place(entries: usize) -> Self {
        Self(vec![Bound::Int(i64::try_from(entries).unwrap_or(i64::MAX))])
    }

    fn to_place(&self) -> Option<usize> {
        match self.0.as_slice() {
            [Bound::Int(entries)] => usize::try_from(*entries).ok(),
            _ => None,
        }
    }

    /// Sequences and positions are numbers, all else is text: another kind would be compared in no useful way.
    fn fits(&self, columns: &[&str]) -> bool {
        self.0.iter().zip(columns).all(|(value, column)| {
            let number = column.ends_with("sequence") || *column == "position";
            number == matches!(value, Bound::Int(_))
        })
    }
}

/// A page.
#[derive(Clone, Debug)]
pub(crate) struct Page<T> {
    /// Its rows, in order.
    pub(crate) rows: Vec<T>,
    /// Whether there are rows behind it.
    pub(crate) more: bool,
    /// The key of its last row.
    pub(crate) end: Option<Cursor>,
}

/// A row and the number of the page that it belongs to.
struct Piece<T>(i64, T);

impl<'r, T: FromRow<'r, AnyRow>> FromRow<'r, AnyRow> for Piece<T> {
    fn from_row(row: &'r AnyRow) -> sqlx::Result<Self> {
        Ok(Self(row.try_get("piece")?, T::from_row(row)?))
    }
}

/// Reads many pages at once.
async fn pages<T: Listed>(
    projection: &Projection,
    keys: &[PageKey],
) -> Result<HashMap<PageKey, Page<T>>, Fault> {
    let mut pages = HashMap::with_capacity(keys.len());
    let mut by_order: HashMap<Order, Vec<PageKey>> = HashMap::new();
    for key in keys {
        by_order.entry(key.list.order).or_default().push(key.clone());
    }
    for (order, keys) in by_order {
        let read = pages_in(projection, order, &keys).await?;
        pages.extend(keys.into_iter().zip(read));
    }
    Ok(pages)
}

/// Reads pages of one order, by one statement.
async fn pages_in<T: Listed>(
    projection: &Projection,
    order: Order,
    keys: &[PageKey],
) -> Result<Vec<Page<T>>, Fault> {
    let mut found: Vec<Page<T>> =
        keys.iter().map(|_| Page { rows: Vec::new(), more: false, end: None }).collect();
    for Piece(number, row) in projection.select::<Piece<T>>(statement::<T>(order, keys)).await? {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let (Some(page), Some(key)) = (found.get_mut(place), keys.get(place)) else { continue };
        // One row more than asked for says that there are more.
        page.more = page.rows.len() >= usize::try_from(key.first).unwrap_or_default();
        if !page.more {
            page.end = Some(row.key(order));
            page.rows.push(row);
        }
    }
    Ok(found)
}

/// One part per walk, each of which is a short one along an index. All pages have this order.
pub(crate) fn statement<T: Listed>(Order { columns, descending }: Order, keys: &[PageKey]) -> Statement {
    let direction = if descending { " DESC" } else { "" };
    let order = columns.iter().map(|column| format!("{column}{direction}")).collect::<Vec<_>>().join(", ");
    let behind = format!("({}) {} (", columns.join(", "), if descending { "<" } else { ">" });
    let mut statement = Statement::new("SELECT * FROM (");
    let walks = keys
        .iter()
        .enumerate()
        .flat_map(|(number, key)| key.list.walks().into_iter().map(move |filters| (number, key, filters)));
    for (part, (number, PageKey { first, after, .. }, filters)) in walks.enumerate() {
        let union = if part == 0 { "" } else { " UNION ALL " };
        statement = statement.sql(&format!(
            "{union}SELECT {number} AS piece, p{part}.* FROM (SELECT * FROM {} WHERE 1 = 1",
            T::VIEW
        ));
        for (column, value) in filters {
            statement = statement.sql(&format!(" AND {column} = ")).bind(value);
        }
        if let Some(after) = after {
            statement = statement.sql(&format!(" AND {behind}")).list(after.0.iter().cloned()).sql(")");
        }
        statement = statement.sql(&format!(" ORDER BY {order} LIMIT {}) AS p{part}", i64::from(*first) + 1));
    }
    statement.sql(&format!(") AS pieces ORDER BY piece, {order}"))
}

/// Loads pages of lists of many parents at once.
pub(crate) struct PagesOf<T>(Projection, PhantomData<fn() -> T>);

impl<T> PagesOf<T> {
    pub(crate) const fn new(projection: Projection) -> Self {
        Self(projection, PhantomData)
    }
}

impl<T: Listed> Load for PagesOf<T> {
    type Key = PageKey;
    type Value = Page<T>;

    /// SQLite takes 500 parts, and a page is one or two.
    const AT_ONCE: usize = 100;

    async fn load(&self, keys: &[PageKey]) -> Result<HashMap<PageKey, Page<T>>, Fault> {
        pages(&self.0, keys).await
    }
}

/// Reads a whole list, one page at a time.
pub(crate) fn every<T: Listed>(
    projection: Projection,
    list: List,
) -> impl Stream<Item = Result<T, Fault>> + Send + 'static {
    let after = list.behind.clone();
    let first = Some(PageKey { list, first: MAX_PAGE, after });
    let pages = stream::try_unfold(first, move |key| {
        let projection = projection.clone();
        async move {
            let Some(key) = key else { return Ok::<_, Fault>(None) };
            let read = pages_in::<T>(&projection, key.list.order, std::slice::from_ref(&key)).await?;
            let Some(page) = read.into_iter().next() else { return Ok(None) };
            let next = page.end.filter(|_| page.more).map(|end| PageKey { after: Some(end), ..key });
            Ok(Some((stream::iter(page.rows.into_iter().map(Ok)), next)))
        }
    });
    pages.try_flatten()
}

/// Rows that belong to something and are read whole.
pub(crate) trait Children:
    for<'r> FromRow<'r, AnyRow> + Clone + Send + Sync + Unpin + 'static
{
    /// The view.
    const VIEW: &'static str;
    /// The column of the thing that has the list.
    const PARENT: &'static str;
    /// The column that orders the list.
    const ORDER: &'static str;

    /// The thing that has it.
    fn parent(&self) -> &str;
}

/// Loads the lists of many parents at once.
pub(crate) struct ChildrenOf<T>(Projection, PhantomData<fn() -> T>);

impl<T> ChildrenOf<T> {
    pub(crate) const fn new(projection: Projection) -> Self {
        Self(projection, PhantomData)
    }
}

impl<T: Children> Load for ChildrenOf<T> {
    type Key = String;
    type Value = Vec<T>;

    const AT_ONCE: usize = 500;

    async fn load(&self, parents: &[String]) -> Result<HashMap<String, Vec<T>>, Fault> {
        let mut lists: HashMap<String, Vec<T>> = HashMap::with_capacity(parents.len());
        for row in self.0.select::<T>(children::<T>(parents)).await? {
            lists.entry(row.parent().to_owned()).or_default().push(row);
        }
        Ok(lists)
    }
}

/// The whole lists of these parents.
pub(crate) fn children<T: Children>(parents: &[String]) -> Statement {
    let (view, parent, order) = (T::VIEW, T::PARENT, T::ORDER);
    Statement::new(&format!("SELECT * FROM {view} WHERE {parent} IN ("))
        .list(parents.iter().cloned().map(Bound::Text))
        .sql(&format!(") ORDER BY {parent}, {order}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let cursor = Cursor(vec![Bound::Text("example.org/a'b".to_owned()), Bound::Int(7)]);
        assert_eq!(Cursor::decode(&cursor.encode(), 2), Some(cursor.clone()));
        assert_eq!(Cursor::decode(&cursor.encode(), 1), None);
        for nonsense in ["", "zz", "5b5d5d", "6e756c6c"] {
            assert_eq!(Cursor::decode(nonsense, 1), None, "{nonsense}");
        }
    }
}
