//! Schedules as cron reads them, also where clocks are put forward and back.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Timelike as _, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::parser::CronParser;
use proptest::prelude::*;
use schedule::{Field, Refused, Schedule};

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The next times as the clock of the zone shows them, with its distance from UTC.
fn shown<const N: usize>(cron: &str, zone: &str, after: &str) -> [String; N] {
    let schedule = Schedule::parse(cron, zone).unwrap();
    let tz: Tz = zone.parse().unwrap();
    let times: Vec<String> = schedule
        .after(time(after))
        .take(N)
        .map(|time| time.with_timezone(&tz).format("%a %Y-%m-%d %H:%M %z").to_string())
        .collect();
    times.try_into().unwrap()
}

fn refused(cron: &str) -> Refused {
    Schedule::parse(cron, "UTC").unwrap_err()
}

#[test]
fn well_known_expressions_come_when_cron_says() {
    // 2026-01-01 is a Thursday.
    let from = "2026-01-01T00:00:00Z";
    for (cron, next) in [
        ("* * * * *", "Thu 2026-01-01 00:01 +0000"),
        ("*/15 * * * *", "Thu 2026-01-01 00:15 +0000"),
        ("5,35 8-10 * * *", "Thu 2026-01-01 08:05 +0000"),
        ("30 4 1,15 * 5", "Thu 2026-01-01 04:30 +0000"),
        ("0 22 * * 1-5", "Thu 2026-01-01 22:00 +0000"),
        ("5 4 * * sun", "Sun 2026-01-04 04:05 +0000"),
        ("5 4 * * 0", "Sun 2026-01-04 04:05 +0000"),
        ("5 4 * * 7", "Sun 2026-01-04 04:05 +0000"),
        ("5 4 * * 1", "Mon 2026-01-05 04:05 +0000"),
        ("5 4 * * Monday", "Mon 2026-01-05 04:05 +0000"),
        ("5 4 * * 6", "Sat 2026-01-03 04:05 +0000"),
        ("0 0 * * 5-7", "Fri 2026-01-02 00:00 +0000"),
        ("0 0 * * SAT-SUN", "Sat 2026-01-03 00:00 +0000"),
        ("0 0 * * 1-7/3", "Sun 2026-01-04 00:00 +0000"),
        ("0 0 29 feb *", "Tue 2028-02-29 00:00 +0000"),
        ("0 0 1 JUL-sep/2 *", "Wed 2026-07-01 00:00 +0000"),
        ("@hourly", "Thu 2026-01-01 01:00 +0000"),
        ("@daily", "Fri 2026-01-02 00:00 +0000"),
        ("@midnight", "Fri 2026-01-02 00:00 +0000"),
        ("@Weekly", "Sun 2026-01-04 00:00 +0000"),
        ("@monthly", "Sun 2026-02-01 00:00 +0000"),
        ("@yearly", "Fri 2027-01-01 00:00 +0000"),
        ("@annually", "Fri 2027-01-01 00:00 +0000"),
    ] {
        assert_eq!(shown(cron, "UTC", from), [next], "{cron}");
    }
}

#[test]
fn a_day_and_a_weekday_are_alternatives_and_a_star_restricts_nothing() {
    let from = "2026-01-01T00:00:00Z";
    let days = ["Fri 2026-01-09 00:00 +0000", "Tue 2026-01-13 00:00 +0000", "Fri 2026-01-16 00:00 +0000"];
    assert_eq!(shown("0 0 13 * FRI", "UTC", "2026-01-02T00:00:00Z"), days);
    let sundays_on_odd_days = ["Sun 2026-01-11 00:00 +0000", "Sun 2026-01-25 00:00 +0000"];
    assert_eq!(shown("0 0 */2 * 0", "UTC", from), sundays_on_odd_days);
}

#[test]
fn a_time_that_the_clock_leaves_out_is_made_up_for_behind_the_gap() {
    // On 2026-03-29 the clock of Berlin goes from 02:00 to 03:00.
    let before = "2026-03-28T12:00:00Z";
    let made_up = ["Sun 2026-03-29 03:00 +0200", "Mon 2026-03-30 02:30 +0200"];
    assert_eq!(shown("30 2 * * *", "Europe/Berlin", before), made_up);
    // Several that fall into the gap are made up for once, also where one comes then anyway.
    let once = ["Sun 2026-03-29 01:30 +0100", "Sun 2026-03-29 03:00 +0200", "Sun 2026-03-29 03:30 +0200"];
    assert_eq!(shown("0,30 1-3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z"), once);
    // What goes by the clock has nothing to make up for.
    let clock = ["Sun 2026-03-29 01:45 +0100", "Sun 2026-03-29 03:00 +0200"];
    assert_eq!(shown("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z"), clock);
    assert_eq!(shown("*/15 2 * * *", "Europe/Berlin", before), ["Mon 2026-03-30 02:00 +0200"]);
}

#[test]
fn a_time_that_the_clock_shows_twice_comes_once_unless_it_goes_by_the_clock() {
    // On 2026-10-25 the clock of Berlin goes from 03:00 to 02:00.
    let once = ["Sun 2026-10-25 02:30 +0200", "Mon 2026-10-26 02:30 +0100"];
    assert_eq!(shown("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"), once);
    assert_eq!(shown("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z"), [once[1]]);
    let hourly = ["Sun 2026-10-25 02:10 +0200", "Sun 2026-10-25 02:10 +0100", "Sun 2026-10-25 03:10 +0100"];
    assert_eq!(shown("10 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z"), hourly);
    let in_the_hour =
        ["Sun 2026-10-25 02:40 +0200", "Sun 2026-10-25 02:00 +0100", "Sun 2026-10-25 02:20 +0100"];
    assert_eq!(shown("*/20 2 * * *", "Europe/Berlin", "2026-10-25T00:20:00Z"), in_the_hour);
}

#[test]
fn a_day_that_an_island_skipped_is_made_up_for_at_its_end() {
    // Samoa had no 2011-12-30.
    let times = ["Thu 2011-12-29 09:00 -1000", "Sat 2011-12-31 00:00 +1400", "Sat 2011-12-31 09:00 +1400"];
    assert_eq!(shown("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z"), times);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_field_and_its_text() {
    for (cron, field, text) in [
        ("61 * * * *", Field::Minute, "61"),
        ("0,x * * * *", Field::Minute, "x"),
        ("0,,5 * * * *", Field::Minute, ""),
        ("5/15 * * * *", Field::Minute, "5/15"),
        ("*/0 * * * *", Field::Minute, "*/0"),
        ("0 24 * * *", Field::Hour, "24"),
        ("0 22-4 * * *", Field::Hour, "22-4"),
        ("0 0 0 * *", Field::Day, "0"),
        ("0 0 L * *", Field::Day, "L"),
        ("0 0 ? * *", Field::Day, "?"),
        ("0 0 * 13 *", Field::Month, "13"),
        ("0 0 * MON *", Field::Month, "MON"),
        ("0 0 * * 8", Field::Weekday, "8"),
        ("0 0 * * FRI-MON", Field::Weekday, "FRI-MON"),
        ("0 0 * * 1#2", Field::Weekday, "1#2"),
        ("0 0 * * */0", Field::Weekday, "*/0"),
        ("0 0 * * 1-2-3", Field::Weekday, "1-2-3"),
        ("", Field::Expression, ""),
        ("* * * *", Field::Expression, "* * * *"),
        ("0 0 4 * * *", Field::Expression, "0 0 4 * * *"),
        ("@reboot", Field::Expression, "@reboot"),
        ("0 0 31 2 *", Field::Expression, "0 0 31 2 *"),
        ("0 0 31 4,6,9,11 *", Field::Expression, "0 0 31 4,6,9,11 *"),
    ] {
        let found = refused(cron);
        assert_eq!((found.field, found.text.as_str()), (field, text), "{cron}");
        assert!(!found.message.is_empty() && found.hint.ends_with('.'), "{cron}: {found:?}");
    }
    assert!(refused("0 0 31 2 *").message.contains("never comes"));
    assert!(refused("0 0 4 * * *").message.contains("neither seconds nor years"));
    assert!(refused(&"0,".repeat(300)).message.contains("bytes"));
}

#[test]
fn a_time_zone_is_an_iana_name_and_a_slip_gets_the_right_one() {
    for (zone, hint) in [
        ("europe/berlin", "Did you mean `Europe/Berlin`?"),
        ("Berlin", "Did you mean `Europe/Berlin`?"),
        ("new york", "Did you mean `America/New_York`?"),
        ("Europe/Brelin", "Did you mean `Europe/Berlin`?"),
    ] {
        let found = Schedule::parse("@daily", zone).unwrap_err();
        assert_eq!((found.field, found.text.as_str(), found.hint.as_str()), (Field::TimeZone, zone, hint));
    }
    let found = Schedule::parse("@daily", "+02:00").unwrap_err();
    assert!(found.hint.starts_with("Give an IANA name"), "{}", found.hint);
}

#[test]
fn the_text_is_kept_with_one_space_between_fields() {
    let schedule = Schedule::parse("  0\t4  *  * MON-FRI ", "UTC").unwrap();
    assert_eq!((schedule.cron(), schedule.time_zone()), ("0 4 * * MON-FRI", "UTC"));
    assert_eq!(Schedule::parse("@DAILY", "UTC").unwrap().cron(), "@daily");
}

/// Sets of numbers as they can be written, and which they are.
fn field(first: u32, last: u32) -> impl Strategy<Value = (String, BTreeSet<u32>)> {
    let item = prop_oneof![
        2 => (first..=last).prop_map(|number| (number.to_string(), BTreeSet::from([number]))),
        1 => (first..=last, first..=last, 1..=5_u32).prop_map(|(one, other, step)| {
            let (low, high) = (one.min(other), one.max(other));
            let step = usize::try_from(step).unwrap();
            (format!("{low}-{high}/{step}"), (low..=high).step_by(step).collect())
        }),
    ];
    proptest::collection::vec(item, 1..4).prop_map(|items| {
        let texts: Vec<&str> = items.iter().map(|(text, _)| text.as_str()).collect();
        (texts.join(","), items.iter().flat_map(|(_, numbers)| numbers.clone()).collect())
    })
}

fn zone() -> impl Strategy<Value = Tz> {
    // Some change their clocks at odd times or by odd amounts, and once over the date line.
    let odd =
        ["Australia/Lord_Howe", "America/Asuncion", "Africa/Cairo", "Asia/Beirut", "Pacific/Apia", "UTC"];
    prop_oneof![
        proptest::sample::select(odd.map(|name| name.parse::<Tz>().unwrap()).to_vec()),
        proptest::sample::select(TZ_VARIANTS.to_vec()),
    ]
}

/// A minute of the years in which clocks have changed as they do now.
fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (1_262_304_000_i64 / 60..2_000_000_000 / 60)
        .prop_map(|minute| DateTime::from_timestamp(minute * 60, 0).unwrap())
}

/// Each minute of some days.
fn minutes(from: DateTime<Utc>, days: i64) -> impl Iterator<Item = DateTime<Utc>> {
    (1..=days * 24 * 60).map(move |minute| from + TimeDelta::minutes(minute))
}

/// The minutes right before and after the next change of a clock, if there is one within a year.
fn next_change(from: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let offset = |time: DateTime<Utc>| time.with_timezone(&zone).naive_local() - time.naive_utc();
    let day = (1..366).map(|day| from + TimeDelta::days(day)).find(|day| offset(*day) != offset(from))?;
    Some(day - TimeDelta::days(1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_by_the_clock_comes_whenever_the_clock_shows_it(
        ((hours_text, hours), zone, from) in (field(0, 23), zone(), moment()),
    ) {
        let from = next_change(from, zone).unwrap_or(from);
        let schedule = Schedule::parse(&format!("*/7 {hours_text} * * *"), zone.name()).unwrap();
        let end = from + TimeDelta::days(3);
        let found: Vec<_> = schedule.after(from).take_while(|time| *time <= end).collect();
        let expected: Vec<_> = minutes(from, 3)
            .filter(|time| {
                let shown = time.with_timezone(&zone);
                shown.minute() % 7 == 0 && hours.contains(&shown.hour())
            })
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_named_time_comes_once_for_each_day_that_the_clock_shows(
        (hour, minute, zone, from) in (0..24_u32, 0..60_u32, zone(), moment()),
    ) {
        let from = next_change(from, zone).unwrap_or(from);
        let schedule = Schedule::parse(&format!("{minute} {hour} * * *"), zone.name()).unwrap();
        let end = from + TimeDelta::days(4);
        let found: Vec<_> = schedule.after(from).take_while(|time| *time <= end).collect();
        prop_assert!(found.is_sorted_by(|one, other| one < other));
        // Each is that time on the clock, or comes when the clock has jumped over it.
        for time in &found {
            let shown = time.with_timezone(&zone).naive_local();
            let before = (*time - TimeDelta::minutes(1)).with_timezone(&zone).naive_local();
            let days = before.date().iter_days().take_while(|day| *day <= shown.date());
            let named = |day: NaiveDate| day.and_hms_opt(hour, minute, 0).unwrap();
            let skipped = days.map(named).any(|named| before < named && named < shown);
            prop_assert!(shown == named(shown.date()) || skipped, "{}", shown);
        }
        // Nothing is left out: each day that the clock shows whole has one.
        let days: BTreeSet<_> = found.iter().map(|time| time.with_timezone(&zone).date_naive()).collect();
        let first = from.with_timezone(&zone).date_naive();
        let last = end.with_timezone(&zone).date_naive();
        for day in minutes(from, 4).map(|time| time.with_timezone(&zone).date_naive()) {
            prop_assert!(day <= first || day >= last || days.contains(&day), "{day}");
        }
    }

    #[test]
    fn another_reader_of_cron_finds_the_same_times(
        (minute, hour, day, month, weekday, from) in (
            field(0, 59),
            field(0, 23),
            prop_oneof![Just("*".to_owned()), field(1, 28).prop_map(|(text, _)| text)],
            prop_oneof![Just("*".to_owned()), field(1, 12).prop_map(|(text, _)| text)],
            prop_oneof![Just("*".to_owned()), field(0, 7).prop_map(|(text, _)| text)],
            moment(),
        ),
    ) {
        let cron = format!("{} {} {day} {month} {weekday}", minute.0, hour.0);
        let schedule = Schedule::parse(&cron, "UTC").unwrap();
        let other = CronParser::new().parse(&cron).unwrap();
        let found: Vec<_> = schedule.after(from).take(10).collect();
        let expected: Vec<_> = other.iter_after(from).take(10).collect();
        prop_assert_eq!(found, expected, "{}", cron);
    }

    #[test]
    fn no_text_makes_it_panic_and_what_it_takes_reads_back(text in "[-0-9*/,a-zA-Z@#?L ]{0,30}") {
        if let Ok(schedule) = Schedule::parse(&text, "UTC") {
            prop_assert_eq!(Schedule::parse(schedule.cron(), schedule.time_zone()), Ok(schedule.clone()));
            let first = schedule.after(time("2026-01-01T00:00:00Z")).next().unwrap();
            prop_assert!(first.year() < 2100);
        }
    }
}
