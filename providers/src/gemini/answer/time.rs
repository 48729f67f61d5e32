//! Times as Google writes them.

/// Seconds since 1970 of a time such as `2026-01-31T12:00:00.123Z` (RFC 3339, in UTC); `None` if it is none.
pub(super) fn seconds_of(time: &str) -> Option<u64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock.split('.').next()?, ':')?;
    let is_sound = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    is_sound.then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut numbers = text.split(separator).map(|number| number.parse::<u64>().ok());
    let three = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(three)
}

/// Days from 1970-01-01 to a day since (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year % 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (year / 400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_since_1970() {
        for (time, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59.999Z", Some(951_868_799)),
            ("2025-06-04T12:34:56.123456Z", Some(1_749_040_496)),
            ("1969-12-31T23:59:59Z", None),
            ("2025-13-04T12:34:56Z", None),
            ("2025-06-04", None),
            ("99999999999999999999-06-04T12:34:56Z", None),
        ] {
            assert_eq!(seconds_of(time), seconds, "{time}");
        }
    }
}
