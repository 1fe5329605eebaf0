//! The projector: events become rows.
//!
//! Owns the projection's tables and is the only one that writes to them; the gateway and the command line read the views.
//! Invariant: rows and checkpoint are one transaction, so that the projection is exactly what the log says up to its
//! checkpoint.
//!
//! [`schema::open`] makes an empty projection with its views, as a test of a reader wants it.

mod columns;
mod rows;
pub mod schema;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the projection is: `sqlite:///path/projection.sqlite` (made if it does not exist) or `postgres://…`.
    pub database_url: String,
}
