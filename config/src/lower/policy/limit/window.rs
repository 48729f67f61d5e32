//! Lowering over what time a limit counts.

use std::time::Duration;

use jiff::tz::TimeZoneDatabase;

use super::NOW;
use crate::knob::Knob as _;
use crate::raw::{RawLimit, RawPeriod, RawWeekStart, RawWindow};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{Count, Period, Window};

const ONE_OF: &str = "tokenBucket, sliding, fixed or calendar";

/// The window of a limit at `place`.
pub(super) fn lower(raw: &RawLimit, count: &Count, place: &FieldPath<'_>, report: &mut Report) -> Window {
    let place = place.field("window");
    match (&raw.window, *count == Count::Concurrency) {
        (None, true) => NOW,
        (Some(_), true) => {
            let message =
                || "has no meaning here: requests in flight are counted now, leave it out".to_owned();
            report.add(&place, message);
            NOW
        }
        (None, false) => {
            report.add(&place, || format!("is missing: give it one of {ONE_OF}, such as {{sliding: 1m}}"));
            NOW
        }
        (Some(raw), false) => window(raw, &place, report),
    }
}

fn window(raw: &RawWindow, place: &FieldPath<'_>, report: &mut Report) -> Window {
    check_words_of_calendars(raw, place, report);
    let spans = [raw.token_bucket, raw.sliding, raw.fixed];
    let given = spans.iter().flatten().count() + usize::from(raw.calendar.is_some());
    if given != 1 {
        report.add(place, || format!("has {given} windows: give it one of {ONE_OF}"));
    }
    let [token_bucket, sliding, fixed] = spans.map(|span| span.map(|span| span.value()));
    let bucket = |period: Duration| Window::TokenBucket(period);
    match (token_bucket, sliding, fixed, raw.calendar) {
        (Some(period), ..) => bucket(period),
        (_, Some(period), ..) => Window::Sliding(period),
        (_, _, Some(period), _) => Window::Fixed(period),
        (.., Some(period)) => {
            let zone = raw.time_zone.as_deref().unwrap_or("UTC");
            Window::Calendar {
                period: self::period(period, raw),
                zone: time_zone(zone, place, report).into(),
            }
        }
        // Reported.
        (None, None, None, None) => NOW,
    }
}

fn check_words_of_calendars(raw: &RawWindow, place: &FieldPath<'_>, report: &mut Report) {
    if raw.time_zone.is_some() && raw.calendar.is_none() {
        let message =
            || "has no meaning without calendar: other windows do not begin at midnights".to_owned();
        report.add(&place.field("timeZone"), message);
    }
    if raw.week_start.is_some() && raw.calendar != Some(RawPeriod::Week) {
        report.add(&place.field("weekStart"), || "has no meaning without calendar: Week".to_owned());
    }
}

fn period(period: RawPeriod, raw: &RawWindow) -> Period {
    match period {
        RawPeriod::Hour => Period::Hour,
        RawPeriod::Day => Period::Day,
        RawPeriod::Week => Period::Week { from_sunday: raw.week_start == Some(RawWeekStart::Sunday) },
        RawPeriod::Month => Period::Month,
        RawPeriod::Year => Period::Year,
    }
}

/// The name of a zone as the database has it. The database is the program's own, so that every gateway has the same.
fn time_zone(name: &str, place: &FieldPath<'_>, report: &mut Report) -> String {
    match TimeZoneDatabase::bundled().get(name) {
        Ok(zone) => zone.iana_name().unwrap_or(name).to_owned(),
        Err(_) => {
            let message = || {
                format!(
                    "there is no time zone {}: write an IANA name, such as \"Europe/Berlin\"",
                    Quoted(name)
                )
            };
            report.add(&place.field("timeZone"), message);
            name.to_owned()
        }
    }
}
