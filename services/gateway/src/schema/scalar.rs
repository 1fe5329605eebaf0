//! The scalars, and the enums' way from text and to it.
//!
//! Owns how a value of a row is shown. What does not fit where GraphQL has 32 bits is shown as the largest that does.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use events::blob::{BlobKind, BlobRef};
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// A place in the log, or another count that may need more than 32 bits. A JSON number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence(pub(crate) u64);

#[Scalar(name = "Sequence")]
impl ScalarType for Sequence {
    fn parse(value: Value) -> InputValueResult<Self> {
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            _ => None,
        };
        number.map(Self).ok_or_else(|| InputValueError::expected_type(value))
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

/// A point in time, UTC, as RFC 3339 text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DateTime(pub(crate) String);

#[Scalar(name = "DateTime")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A count of a row as a place in the log or the like.
pub(crate) fn sequence(value: i64) -> Sequence {
    Sequence(u64::try_from(value).unwrap_or_default())
}

/// A count of a row as GraphQL's `Int`.
pub(crate) fn int(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

/// A blob of a row, of which these two columns hold the digest and the length.
pub(crate) fn blob(row: &AnyRow, kind: BlobKind, [sha256, size]: [&str; 2]) -> sqlx::Result<Option<BlobRef>> {
    let Some(sha256) = row.try_get::<Option<String>, _>(sha256)? else { return Ok(None) };
    let sha256 = sha256.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let size: i64 = row.try_get(size)?;
    let size = u64::try_from(size).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some(BlobRef { kind, sha256, size }))
}

/// An enum whose values are texts in the projection.
pub(crate) trait Named: Sized {
    /// Reads a text.
    fn from_text(text: &str) -> sqlx::Result<Self>;

    /// The text.
    fn text(self) -> &'static str;

    /// Reads the column `state` of a row.
    fn of(row: &AnyRow) -> sqlx::Result<Self> {
        Self::from_text(&row.try_get::<String, _>("state")?)
    }

    /// Reads a column that may hold nothing.
    fn read(row: &AnyRow, column: &str) -> sqlx::Result<Option<Self>> {
        row.try_get::<Option<String>, _>(column)?.map(|text| Self::from_text(&text)).transpose()
    }
}

/// Makes an enum of states whose text in the projection is its name in snake case.
macro_rules! states {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, async_graphql::Enum)]
        pub(crate) enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $crate::schema::scalar::Named for $name {
            fn from_text(text: &str) -> sqlx::Result<Self> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(sqlx::Error::Decode(format!("unknown name `{other}`").into())),
                }
            }

            fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}
pub(crate) use states;
