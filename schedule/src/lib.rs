//! Schedules: a cron expression on the clock of a time zone, and the times at which it comes.
//!
//! Owns what an expression means and what becomes of it where clocks are put forward and back. Never reads a clock and never
//! waits: whoever asks says after which time. Invariant: the times of a schedule come in order, each once.

mod expression;
mod refused;
mod times;
mod zone;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use expression::Expression;
pub use refused::{Field, Refused};
pub use times::Times;

/// An expression and the zone on whose clock it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    expression: Expression,
    zone: Tz,
}

impl Schedule {
    /// Reads a standard cron expression, five fields or a nickname such as `@daily`, and the IANA name of a time zone.
    ///
    /// # Errors
    /// What cannot be read, with the field that it stands in; and an expression whose day never comes.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Self, Refused> {
        let expression = Expression::parse(cron)?;
        let zone = zone::parse(time_zone)?;
        if !expression.comes() {
            let message = format!("`{}` never comes: no month of it has such a day", expression.text());
            let hint = "Choose a day that one of the months has: February has 29 at most, four others 30.";
            return Err(Refused::new(Field::Expression, expression.text(), message, hint));
        }
        Ok(Self { expression, zone })
    }

    /// The expression as it was written, with one space between fields.
    pub fn cron(&self) -> &str {
        self.expression.text()
    }

    /// The name of the time zone.
    pub fn time_zone(&self) -> &'static str {
        self.zone.name()
    }

    /// When it comes after a time, without end as far as calendars go.
    ///
    /// A time that the clock shows twice is one time where the expression names minute and hour: the first. A time that the
    /// clock leaves out is then made up for at the first instant behind the gap. Where the minute or the hour begins with
    /// `*`, the schedule goes by what the clock shows: both times, and nothing for what it leaves out.
    pub fn after(&self, after: DateTime<Utc>) -> Times<'_> {
        Times::new(&self.expression, self.zone, after)
    }
}
