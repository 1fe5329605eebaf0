//! Cron expressions: five fields, as cron itself has read them since 1987.
//!
//! Owns what the `cron` crate reads differently: it wants seconds, counts weekdays from 1 for Sunday, knows other nicknames, and
//! lets a day fit the day of the month and the weekday where cron lets it fit either. What is left, it parses. Never knows a
//! time zone.

use std::str::FromStr as _;

use chrono::{Datelike as _, Days, NaiveDate};
use cron::TimeUnitSpec;

use crate::refused::{Field, Refused};

/// The longest expression.
const MAX_BYTES: usize = 500;

/// The nicknames and what they stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

const FIELDS: [Field; 5] = [Field::Minute, Field::Hour, Field::Day, Field::Month, Field::Weekday];

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// What is written wrongly most often, and every field's place.
const SHAPE: &str = "Write five fields, minute hour day month weekday, for example `30 4 * * MON-FRI`, or one of @hourly, \
                     @daily, @weekly, @monthly and @yearly.";

/// After so many years the calendar comes again.
const CYCLE: (i32, i32) = (2000, 2400);

/// Numbers of a field, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    bits: u64,
    /// Whether the field begins with `*`: then it restricts nothing of its own accord.
    star: bool,
}

impl Numbers {
    const fn has(self, number: u32) -> bool {
        self.bits >> number & 1 == 1
    }

    fn iter(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |number| self.has(*number))
    }
}

/// A cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expression {
    text: String,
    minutes: Numbers,
    hours: Numbers,
    days: Numbers,
    months: Numbers,
    /// From 0 for Sunday.
    weekdays: Numbers,
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        let refuse = |message: String, hint: &str| {
            let shown: String = text.trim().chars().take(60).collect();
            Err(Refused::new(Field::Expression, shown, message, hint))
        };
        if text.len() > MAX_BYTES {
            let message = format!("the expression has {} bytes, {MAX_BYTES} are the most", text.len());
            return refuse(message, "Write ranges and steps instead of lists.");
        }
        let written: Vec<&str> = text.split_whitespace().collect();
        let written = match written.as_slice() {
            [nickname] if nickname.starts_with('@') => return Self::nicknamed(nickname),
            [minute, hour, day, month, weekday] => [*minute, *hour, *day, *month, *weekday],
            [_, _, _, _, _, _] | [_, _, _, _, _, _, _] => {
                let message = format!(
                    "the expression has {} fields; a schedule has neither seconds nor years",
                    written.len()
                );
                return refuse(message, SHAPE);
            }
            other => {
                return refuse(format!("the expression has {} fields instead of five", other.len()), SHAPE);
            }
        };
        let mut fields = [Numbers { bits: 0, star: false }; 5];
        for ((numbers, field), text) in fields.iter_mut().zip(FIELDS).zip(written) {
            *numbers = read(field, text)?;
        }
        let [minutes, hours, days, months, weekdays] = fields;
        Ok(Self { text: written.join(" "), minutes, hours, days, months, weekdays })
    }

    fn nicknamed(nickname: &str) -> Result<Self, Refused> {
        let lower = nickname.to_ascii_lowercase();
        match NICKNAMES.iter().find(|(name, _)| *name == lower) {
            Some((name, fields)) => Ok(Self { text: (*name).to_owned(), ..Self::parse(fields)? }),
            None => {
                let message = format!("`{nickname}` is none of the names that a schedule can have");
                Err(Refused::new(Field::Expression, nickname, message, SHAPE))
            }
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it goes by what the clock shows, whatever that is, instead of naming times of the day.
    pub(crate) const fn follows_the_clock(&self) -> bool {
        self.minutes.star || self.hours.star
    }

    /// Whether it comes on a day. As in cron, a day of the month and a weekday that are both given are alternatives.
    pub(crate) fn has_day(&self, day: NaiveDate) -> bool {
        let of_month = self.days.has(day.day());
        let of_week = self.weekdays.has(day.weekday().num_days_from_sunday());
        let fits =
            if self.days.star || self.weekdays.star { of_month && of_week } else { of_month || of_week };
        fits && self.months.has(day.month())
    }

    /// The times of a day on which it comes, hours and minutes, in order.
    pub(crate) fn times(&self) -> impl Iterator<Item = (u32, u32)> {
        self.hours.iter().flat_map(|hour| self.minutes.iter().map(move |minute| (hour, minute)))
    }

    /// Whether there is any day on which it comes.
    pub(crate) fn comes(&self) -> bool {
        let (first, end) = CYCLE;
        let first = NaiveDate::from_yo_opt(first, 1);
        let days = std::iter::successors(first, |day| day.checked_add_days(Days::new(1)));
        days.take_while(|day| day.year() < end).any(|day| self.has_day(day))
    }
}

/// Reads a field, item by item.
fn read(field: Field, text: &str) -> Result<Numbers, Refused> {
    let mut numbers = Numbers { bits: 0, star: text.starts_with('*') };
    for item in text.split(',') {
        numbers.bits |= read_item(field, item)?;
    }
    Ok(numbers)
}

fn read_item(field: Field, item: &str) -> Result<u64, Refused> {
    let refuse = |hint: String| Err(refused(field, item, hint));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '-' | '/');
    if item.is_empty() || !item.chars().all(plain) {
        return refuse(values(field).to_owned());
    }
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (item, None),
    };
    // Some read this as a range to the end of the field, others as this one value.
    if step.is_some() && range != "*" && !range.contains('-') {
        return refuse("A step goes with `*` or with a range: `*/15`, `5-59/15`.".to_owned());
    }
    let theirs = if field == Field::Weekday { renumbered(item, range, step)? } else { item.to_owned() };
    let expression = match field {
        Field::Minute => format!("0 {theirs} * * * *"),
        Field::Hour => format!("0 0 {theirs} * * *"),
        Field::Day => format!("0 0 0 {theirs} * *"),
        Field::Month => format!("0 0 0 1 {theirs} *"),
        Field::Weekday | Field::Expression | Field::TimeZone => format!("0 0 0 * * {theirs}"),
    };
    let Ok(parsed) = cron::Schedule::from_str(&expression) else { return refuse(values(field).to_owned()) };
    Ok(match field {
        Field::Minute => bits(parsed.minutes()),
        Field::Hour => bits(parsed.hours()),
        Field::Day => bits(parsed.days_of_month()),
        Field::Month => bits(parsed.months()),
        // Sunday is their 1 and our 0.
        Field::Weekday | Field::Expression | Field::TimeZone => bits(parsed.days_of_week()) >> 1,
    })
}

fn bits(numbers: &impl TimeUnitSpec) -> u64 {
    numbers.iter().fold(0, |bits, number| bits | 1 << number)
}

/// An item of the weekday, where Sunday is 0 or 7, as a list in which it is 1.
fn renumbered(item: &str, range: &str, step: Option<&str>) -> Result<String, Refused> {
    let refuse = || refused(Field::Weekday, item, values(Field::Weekday).to_owned());
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (0, 6),
        Some((first, last)) => (weekday(first).ok_or_else(refuse)?, weekday(last).ok_or_else(refuse)?),
        None => {
            let day = weekday(range).ok_or_else(refuse)?;
            (day, day)
        }
    };
    // A week may end with Sunday by whichever name.
    let last = if last == 0 && first > 0 { 7 } else { last };
    let step: usize =
        step.map_or(Ok(1), str::parse).ok().filter(|step| (1..=7).contains(step)).ok_or_else(refuse)?;
    let days: Vec<String> = (first..=last).step_by(step).map(|day| (day % 7 + 1).to_string()).collect();
    if days.is_empty() { Err(refuse()) } else { Ok(days.join(",")) }
}

/// The number of a weekday: a digit from 0 to 7, its name, or the first three letters of that.
fn weekday(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let named =
        WEEKDAYS.iter().position(|name| *name == lower || (lower.len() == 3 && name.starts_with(&lower)));
    let number = text.parse().ok().filter(|number| *number <= 7 && text.len() == 1);
    named.and_then(|number| u32::try_from(number).ok()).or(number)
}

fn refused(field: Field, item: &str, hint: String) -> Refused {
    let message = match item {
        "" => format!("an entry of the {field} is empty"),
        item => format!("`{item}` cannot be the {field}"),
    };
    Refused::new(field, item, message, hint)
}

/// What a field can hold.
const fn values(field: Field) -> &'static str {
    match field {
        Field::Minute => {
            "The minute is 0 to 59, a range such as `0-29`, a step such as `*/15`, or several with commas."
        }
        Field::Hour => {
            "The hour is 0 to 23, a range such as `9-17`, a step such as `*/2`, or several with commas. A range does not go \
             over midnight: write `22-23,0-4`."
        }
        Field::Day => {
            "The day of the month is 1 to 31, a range such as `1-7`, a step such as `*/2`, or several with commas."
        }
        Field::Month => {
            "The month is 1 to 12 or JAN to DEC, a range such as `APR-SEP`, or several with commas."
        }
        Field::Weekday => {
            "The weekday is 0 to 7, where 0 and 7 are Sunday, or SUN to SAT, or a range such as `MON-FRI`."
        }
        Field::Expression | Field::TimeZone => SHAPE,
    }
}
