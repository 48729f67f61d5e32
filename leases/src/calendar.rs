//! Which period of a calendar a time is in, and the one after it.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use penstock_config::Period;

use crate::script::Frame;

/// The frame of the period that `micros` since 1970 is in, in the zone of this name. `None` if there is no such zone, or the
/// time is beyond all calendars.
pub(crate) fn frame(period: Period, zone: &str, micros: u64) -> Option<Frame> {
    let zone = TimeZone::get(zone).ok()?;
    let now = Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()?.to_zoned(zone.clone());
    let begins = begin(period, &now)?;
    let ends = next(period, &begins)?;
    let next_ends = next(period, &ends)?;
    let (begins, ends, next_ends) = (since_epoch(&begins)?, since_epoch(&ends)?, since_epoch(&next_ends)?);
    Some(Frame::Calendar { period, begins, ends, next_ends })
}

/// When the period began that `now` is in.
fn begin(period: Period, now: &Zoned) -> Option<Zoned> {
    let date = now.date();
    let first = match period {
        // Of the time that passes, not of the clock on the wall: an hour that is there twice is two.
        Period::Hour => {
            let into = i64::from(now.minute()) * 60 + i64::from(now.second());
            let whole = now.timestamp().as_second().checked_sub(into)?;
            return Some(Timestamp::from_second(whole).ok()?.to_zoned(now.time_zone().clone()));
        }
        Period::Day => date,
        Period::Week { from_sunday } => {
            let weekday = if from_sunday { Weekday::Sunday } else { Weekday::Monday };
            date.checked_sub(i64::from(date.weekday().since(weekday)).days()).ok()?
        }
        Period::Month => date.first_of_month(),
        Period::Year => date.first_of_year(),
    };
    midnight(first, now)
}

/// When the period ends that begins then.
fn next(period: Period, begins: &Zoned) -> Option<Zoned> {
    let date = begins.date();
    let first = match period {
        Period::Hour => return begins.checked_add(1.hour()).ok(),
        Period::Day => date.checked_add(1.day()),
        Period::Week { .. } => date.checked_add(1.week()),
        Period::Month => date.checked_add(1.month()),
        Period::Year => date.checked_add(1.year()),
    };
    midnight(first.ok()?, begins)
}

/// The first moment of a day, in the zone of `like`.
fn midnight(date: Date, like: &Zoned) -> Option<Zoned> {
    date.to_zoned(like.time_zone().clone()).ok()?.start_of_day().ok()
}

fn since_epoch(time: &Zoned) -> Option<u64> {
    u64::try_from(time.timestamp().as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        since_epoch(&text.parse::<Zoned>().expect("a time")).expect("after 1970")
    }

    #[track_caller]
    fn check(period: Period, now: &str, expected: [&str; 3]) {
        let zone = now.split(['[', ']']).nth(1).expect("a zone");
        let [begins, ends, next_ends] = expected.map(|time| at(&format!("{time}[{zone}]")));
        assert_eq!(frame(period, zone, at(now)), Some(Frame::Calendar { period, begins, ends, next_ends }));
    }

    #[test]
    fn a_day_in_spring_has_23_hours_where_clocks_are_changed() {
        check(
            Period::Day,
            "2026-03-29T12:00[Europe/Berlin]",
            ["2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", "2026-03-31T00:00+02:00"],
        );
    }

    #[test]
    fn a_day_without_midnight_begins_when_it_does() {
        check(
            Period::Day,
            "2018-11-04T12:00[America/Sao_Paulo]",
            ["2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00", "2018-11-06T00:00-02:00"],
        );
    }

    #[test]
    fn an_hour_that_is_there_twice_is_two() {
        check(
            Period::Hour,
            "2026-10-25T02:30+01:00[Europe/Berlin]",
            ["2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00", "2026-10-25T04:00+01:00"],
        );
    }

    #[test]
    fn weeks_begin_on_the_day_that_is_asked_for() {
        let monday = Period::Week { from_sunday: false };
        let sunday = Period::Week { from_sunday: true };
        check(
            monday,
            "2026-11-29T10:00[UTC]",
            ["2026-11-23T00:00Z", "2026-11-30T00:00Z", "2026-12-07T00:00Z"],
        );
        check(
            sunday,
            "2026-11-29T10:00[UTC]",
            ["2026-11-29T00:00Z", "2026-12-06T00:00Z", "2026-12-13T00:00Z"],
        );
    }

    #[test]
    fn months_and_years_are_as_long_as_they_are() {
        check(
            Period::Month,
            "2028-01-31T23:59[UTC]",
            ["2028-01-01T00:00Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"],
        );
        check(
            Period::Year,
            "2028-06-01T00:00[UTC]",
            ["2028-01-01T00:00Z", "2029-01-01T00:00Z", "2030-01-01T00:00Z"],
        );
    }
}
