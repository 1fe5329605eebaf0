//! The times of a schedule: from what a clock shows to instants.
//!
//! Owns the rules for a time that the clock of a zone shows twice or not at all. Bounded: no more than three days of times are
//! held at once.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::expression::Expression;

/// How many days are looked at until the next time is given up: the calendar has come again by then.
const HORIZON_DAYS: u64 = 400 * 366;

/// The longest gap that is looked for, in minutes: an island that changed the side of the date line lost a day.
const MAX_GAP_MINUTES: i64 = 48 * 60;

/// The instants at which a schedule comes, in order.
#[derive(Clone, Debug)]
pub struct Times<'s> {
    expression: &'s Expression,
    zone: Tz,
    after: DateTime<Utc>,
    /// The next day to look at; none at the end of the calendar.
    day: Option<NaiveDate>,
    /// What the days that were looked at have and was not handed out.
    waiting: BTreeSet<DateTime<Utc>>,
}

impl<'s> Times<'s> {
    pub(crate) fn new(expression: &'s Expression, zone: Tz, after: DateTime<Utc>) -> Self {
        // The clock may be put forward or back over midnight: the days beside count too.
        let day = date(after, zone).checked_sub_days(Days::new(1));
        Self { expression, zone, after, day, waiting: BTreeSet::new() }
    }

    /// Whether no day that comes can have an earlier time.
    fn is_settled(&self, first: DateTime<Utc>) -> bool {
        let Some(day) = self.day else { return true };
        date(first, self.zone).checked_add_days(Days::new(1)).is_some_and(|next| day > next)
    }

    fn take_day(&mut self) {
        let Some(day) = self.day else { return };
        self.day = day.checked_add_days(Days::new(1));
        if !self.expression.has_day(day) {
            return;
        }
        for (hour, minute) in self.expression.times() {
            let Some(shown) = day.and_hms_opt(hour, minute, 0) else { continue };
            let later = |instant: &DateTime<Utc>| *instant > self.after;
            self.waiting
                .extend(instants(shown, self.zone, self.expression.follows_the_clock()).filter(later));
        }
    }
}

impl Iterator for Times<'_> {
    type Item = DateTime<Utc>;

    fn next(&mut self) -> Option<DateTime<Utc>> {
        for _ in 0..HORIZON_DAYS {
            match self.waiting.first() {
                Some(first) if self.is_settled(*first) => break,
                _ => self.take_day(),
            }
        }
        let next = self.waiting.pop_first()?;
        self.after = next;
        Some(next)
    }
}

/// When a time is on the clock of a zone: once, twice or never.
fn instants(shown: NaiveDateTime, zone: Tz, follows_the_clock: bool) -> impl Iterator<Item = DateTime<Utc>> {
    let (first, second) = match zone.from_local_datetime(&shown) {
        LocalResult::Single(one) => (Some(one), None),
        LocalResult::Ambiguous(one, other) if follows_the_clock => (Some(one), Some(other)),
        LocalResult::Ambiguous(one, other) => (Some(one.min(other)), None),
        LocalResult::None if follows_the_clock => (None, None),
        LocalResult::None => (behind_the_gap(shown, zone), None),
    };
    [first, second].into_iter().flatten().map(|instant| instant.with_timezone(&Utc))
}

/// The first instant behind the gap that a time falls into.
fn behind_the_gap(shown: NaiveDateTime, zone: Tz) -> Option<DateTime<Tz>> {
    let later =
        (1..=MAX_GAP_MINUTES).filter_map(|minutes| shown.checked_add_signed(TimeDelta::minutes(minutes)));
    later.into_iter().find_map(|shown| zone.from_local_datetime(&shown).earliest())
}

fn date(instant: DateTime<Utc>, zone: Tz) -> NaiveDate {
    instant.with_timezone(&zone).date_naive()
}
