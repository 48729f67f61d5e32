//! Periods of the calendar, in a time zone.

use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _, Zoned};
use penstock_config::Period;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A period of the calendar where it is lived by.
#[derive(Debug)]
pub(crate) struct Calendar {
    period: Period,
    zone: TimeZone,
}

impl Calendar {
    /// `zone` is the name of one that exists: a document with another is not sound. UTC if it does not.
    pub(crate) fn new(period: Period, zone: &str) -> Self {
        Self { period, zone: TimeZone::get(zone).unwrap_or(TimeZone::UTC) }
    }

    /// When the period ends that `wall` lies in; always later than that. A day has 23 to 25 hours where clocks are put
    /// forward or back, and a month or year that day.
    pub(crate) fn end(&self, wall: SystemTime) -> SystemTime {
        // Where a clock was put back over midnight, the next day has begun once already: an hour helps over it. So it does
        // for times that no calendar has.
        self.begin_of_next(wall).filter(|ends| *ends > wall).unwrap_or(wall + HOUR)
    }

    fn begin_of_next(&self, wall: SystemTime) -> Option<SystemTime> {
        let now = Timestamp::try_from(wall).ok()?.to_zoned(self.zone.clone());
        let today = now.date();
        let first_of_month = today.first_of_month();
        let next = match self.period {
            Period::Hour => return Some(full_hour_after(&now).into()),
            Period::Day => today.tomorrow(),
            Period::Week { from_sunday } => {
                let weekday = today.weekday();
                let passed = if from_sunday {
                    weekday.to_sunday_zero_offset()
                } else {
                    weekday.to_monday_zero_offset()
                };
                after(today, (7 - i64::from(passed)).days())
            }
            Period::Month => after(first_of_month, 1.month()),
            Period::Year => after(today.first_of_year(), 1.year()),
        };
        // Where there is no midnight since clocks are put forward, the day begins with its first moment.
        Some(next.ok()?.to_zoned(self.zone.clone()).ok()?.start_of_day().ok()?.into())
    }
}

fn after(date: Date, span: Span) -> Result<Date, jiff::Error> {
    date.checked_add(span)
}

/// By the time that passes, not by the clock's hands: an hour that comes twice in autumn is two.
fn full_hour_after(now: &Zoned) -> Timestamp {
    let into_hour = Duration::from_secs(60) * now.minute().unsigned_abs().into()
        + Duration::from_secs(now.second().unsigned_abs().into())
        + Duration::from_nanos(now.subsec_nanosecond().unsigned_abs().into());
    now.timestamp() + (HOUR - into_hour)
}
