//! Values in columns: how each type of the language stands in SQL, and how it is read back.
//!
//! Owns the only two forms there are, text and integer. Invariant: a value reads back as what was written, on both engines.

use std::borrow::Cow;

use events::Timestamp;
use events::id::{ActionId, ExecutionId, JobId, PlanId, RepositoryId, RunnerId, SecretId, TokenId, UserId};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Arguments as _, Row as _};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
}

/// A text that is usually one of a few constants.
pub(crate) type Word = Cow<'static, str>;

/// A type that stands in a column.
pub(crate) trait Column: Sized {
    const KIND: Kind;

    fn text(&self) -> Option<String> {
        None
    }

    fn integer(&self) -> Option<i64> {
        None
    }

    fn from_text(_: String) -> Result<Self, String> {
        Err("an integer is expected".to_owned())
    }

    fn from_integer(_: i64) -> Result<Self, String> {
        Err("a text is expected".to_owned())
    }

    /// What stands for no value, where the column may hold none.
    fn absent() -> Option<Self> {
        None
    }
}

/// Adds a value to a statement.
pub(crate) fn bind<C: Column>(value: &C, to: &mut AnyArguments) -> sqlx::Result<()> {
    match C::KIND {
        Kind::Text => to.add(value.text().map(storable)),
        Kind::Integer => to.add(value.integer()),
    }
    .map_err(sqlx::Error::Encode)
}

/// Reads a value from a row.
pub(crate) fn read<C: Column>(row: &AnyRow, index: usize) -> sqlx::Result<C> {
    let value = match C::KIND {
        Kind::Text => row.try_get::<Option<String>, _>(index)?.map(C::from_text),
        Kind::Integer => row.try_get::<Option<i64>, _>(index)?.map(C::from_integer),
    };
    let value = value.unwrap_or_else(|| C::absent().ok_or_else(|| "there must be a value".to_owned()));
    value.map_err(|why| sqlx::Error::ColumnDecode { index: index.to_string(), source: why.into() })
}

/// PostgreSQL cannot hold U+0000; the same stands in for it on both engines.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// A point in time as it stands in SQL.
pub(crate) fn time_text(time: Timestamp) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

impl<C: Column> Column for Option<C> {
    const KIND: Kind = C::KIND;

    fn text(&self) -> Option<String> {
        self.as_ref().and_then(C::text)
    }

    fn integer(&self) -> Option<i64> {
        self.as_ref().and_then(C::integer)
    }

    fn from_text(text: String) -> Result<Self, String> {
        C::from_text(text).map(Some)
    }

    fn from_integer(integer: i64) -> Result<Self, String> {
        C::from_integer(integer).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

macro_rules! text_columns {
    ($($type:ty: $write:expr, $read:expr;)+) => {
        $(impl Column for $type {
            const KIND: Kind = Kind::Text;

            fn text(&self) -> Option<String> {
                let write: fn(&Self) -> String = $write;
                Some(write(self))
            }

            fn from_text(text: String) -> Result<Self, String> {
                let read: fn(String) -> Result<Self, String> = $read;
                read(text)
            }
        })+
    };
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: String) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

text_columns! {
    String: String::clone, Ok;
    Word: |word| word.clone().into_owned(), |text| Ok(Word::Owned(text));
    Timestamp: |time| time_text(*time), parse;
    ActionId: ToString::to_string, parse;
    ExecutionId: ToString::to_string, parse;
    JobId: ToString::to_string, parse;
    PlanId: ToString::to_string, parse;
    RepositoryId: ToString::to_string, parse;
    RunnerId: ToString::to_string, parse;
    SecretId: ToString::to_string, parse;
    TokenId: ToString::to_string, parse;
    UserId: ToString::to_string, parse;
}

macro_rules! integer_columns {
    ($($type:ty),+) => {
        $(impl Column for $type {
            const KIND: Kind = Kind::Integer;

            fn integer(&self) -> Option<i64> {
                // Beyond the range of the column the nearest value that fits: none of these counts gets there.
                Some(i64::try_from(*self).unwrap_or(i64::MAX))
            }

            fn from_integer(integer: i64) -> Result<Self, String> {
                Self::try_from(integer).map_err(|error| error.to_string())
            }
        })+
    };
}

integer_columns!(i64, u64, u32);

impl Column for bool {
    const KIND: Kind = Kind::Integer;

    fn integer(&self) -> Option<i64> {
        Some(i64::from(*self))
    }

    fn from_integer(integer: i64) -> Result<Self, String> {
        Ok(integer != 0)
    }
}
