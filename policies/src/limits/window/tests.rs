use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use penstock_config::{Period, Window};

use super::*;

fn wall(text: &str) -> SystemTime {
    text.parse::<Timestamp>().unwrap().into()
}

fn text(wall: SystemTime) -> String {
    Timestamp::try_from(wall).unwrap().to_string()
}

fn end(period: Period, zone: &str, of: &str) -> String {
    let shape = Shape::new(&Window::Calendar { period, zone: zone.into() });
    text(shape.end(wall(of)))
}

fn at(seconds: f64) -> Now {
    let since = Duration::from_secs_f64(seconds);
    Now { wall: UNIX_EPOCH + since, mono: since }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_day_ends_at_midnight_where_it_is_lived() {
    for (zone, of, ends) in [
        ("UTC", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
        ("UTC", "2026-03-01T23:59:59.999999999Z", "2026-03-02T00:00:00Z"),
        ("Europe/Berlin", "2026-01-31T22:59:59Z", "2026-01-31T23:00:00Z"),
        ("Europe/Berlin", "2026-01-31T23:00:00Z", "2026-02-01T23:00:00Z"),
        // 23 hours, and 25.
        ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ("Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T23:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T23:00:00Z"),
        ("America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
        ("America/New_York", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        ("Asia/Kolkata", "2026-06-01T18:29:59Z", "2026-06-01T18:30:00Z"),
        ("Asia/Kolkata", "2026-06-01T18:30:00Z", "2026-06-02T18:30:00Z"),
        // No midnight: the day began at one.
        ("America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z"),
    ] {
        assert_eq!(end(Period::Day, zone, of), ends, "{zone} {of}");
    }
}

#[test]
fn a_week_begins_on_monday_or_sunday() {
    let week = |from_sunday| Period::Week { from_sunday };
    // 2026-03-27 is a Friday; the clocks are put forward on the 29th, a Sunday.
    assert_eq!(end(week(false), "Europe/Berlin", "2026-03-27T12:00:00Z"), "2026-03-29T22:00:00Z");
    assert_eq!(end(week(true), "Europe/Berlin", "2026-03-27T12:00:00Z"), "2026-03-28T23:00:00Z");
    assert_eq!(end(week(true), "Europe/Berlin", "2026-03-29T12:00:00Z"), "2026-04-04T22:00:00Z");
    assert_eq!(end(week(false), "Europe/Berlin", "2026-03-30T12:00:00Z"), "2026-04-05T22:00:00Z");
}

#[test]
fn a_month_ends_with_its_last_day_and_a_year_with_december() {
    for (period, zone, of, ends) in [
        (Period::Month, "UTC", "2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z"),
        (Period::Month, "UTC", "2028-02-29T12:00:00Z", "2028-03-01T00:00:00Z"),
        (Period::Month, "UTC", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        (Period::Month, "Europe/Berlin", "2026-03-31T21:59:59Z", "2026-03-31T22:00:00Z"),
        (Period::Month, "Europe/Berlin", "2026-10-01T00:00:00Z", "2026-10-31T23:00:00Z"),
        (Period::Month, "America/New_York", "2026-11-01T03:59:59Z", "2026-11-01T04:00:00Z"),
        (Period::Year, "Europe/Berlin", "2026-06-01T00:00:00Z", "2026-12-31T23:00:00Z"),
        (Period::Year, "Asia/Kolkata", "2026-12-31T18:30:00Z", "2027-12-31T18:30:00Z"),
    ] {
        assert_eq!(end(period, zone, of), ends, "{zone} {of}");
    }
}

#[test]
fn an_hour_that_comes_twice_in_autumn_is_two() {
    for (zone, of, ends) in [
        ("Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),
        ("Europe/Berlin", "2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z"),
        ("Asia/Kolkata", "2026-06-01T12:00:00Z", "2026-06-01T12:30:00Z"),
    ] {
        assert_eq!(end(Period::Hour, zone, of), ends, "{zone} {of}");
    }
}

#[test]
fn a_period_ends_after_any_moment_in_it() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]
    {
        for period in [
            Period::Hour,
            Period::Day,
            Period::Week { from_sunday: false },
            Period::Week { from_sunday: true },
            Period::Month,
            Period::Year,
        ] {
            let calendar = Calendar::new(period, zone);
            // A year, in steps that meet any minute of an hour and any hour of a day.
            for step in 0..1500_u64 {
                let moment = UNIX_EPOCH + Duration::from_secs(1_293_840_000 + step * 21_247);
                assert!(calendar.end(moment) > moment, "{zone} {period:?} {}", text(moment));
                let just_before = calendar.end(moment) - Duration::from_nanos(1);
                assert!(calendar.end(just_before) > just_before);
            }
        }
    }
}

#[test]
fn times_that_no_calendar_has_end_all_the_same() {
    let calendar = Calendar::new(Period::Month, "UTC");
    let late = UNIX_EPOCH + Duration::from_secs(400_000_000_000);
    assert_eq!(calendar.end(late), late + Duration::from_secs(3600));
}

#[test]
fn a_bucket_fills_evenly_to_the_last_part() {
    let shape = Shape::new(&Window::TokenBucket(MINUTE));
    let mut meter = Meter::new(&shape, at(0.0));
    meter.charge(7);
    assert_eq!(meter.until(&shape, 0, 7, at(0.0)), MINUTE);
    // Seven a minute in steps of a hundredth of a second: nothing is lost between them.
    for step in 1..=6000 {
        meter.advance(&shape, 7, at(f64::from(step) / 100.0));
        let filled = step * 7 / 6000;
        assert_eq!(meter.used(), 7 - u64::try_from(filled).unwrap(), "{step}");
    }
}

#[test]
fn a_bucket_that_is_full_does_not_fill_on() {
    let shape = Shape::new(&Window::TokenBucket(MINUTE));
    let mut meter = Meter::new(&shape, at(0.0));
    meter.advance(&shape, 60, at(1000.5));
    meter.charge(1);
    meter.advance(&shape, 60, at(1001.4));
    assert_eq!(meter.used(), 1);
    meter.advance(&shape, 60, at(1001.5));
    assert_eq!(meter.used(), 0);
}

#[test]
fn debt_in_a_bucket_is_worked_off() {
    let shape = Shape::new(&Window::TokenBucket(MINUTE));
    let mut meter = Meter::new(&shape, at(0.0));
    meter.charge(180);
    assert_eq!(meter.until(&shape, 59, 60, at(0.0)), Duration::from_secs(121));
    meter.advance(&shape, 60, at(120.0));
    assert_eq!(meter.used(), 60);
}

#[test]
fn what_slides_out_of_the_window_is_free_a_sixtieth_late_at_most() {
    let shape = Shape::new(&Window::Sliding(MINUTE));
    let mut meter = Meter::new(&shape, at(100.0));
    for (second, used) in [(100.0, 5), (100.9, 1), (130.0, 10)] {
        meter.advance(&shape, 0, at(second));
        meter.charge(used);
    }
    assert_eq!(meter.until(&shape, 10, 0, at(130.0)), Duration::from_secs(31));
    assert_eq!(meter.until(&shape, 0, 0, at(130.0)), Duration::from_secs(61));
    for (second, used) in [(160.9, 16), (161.0, 10), (190.9, 10), (191.0, 0), (10_000.0, 0)] {
        meter.advance(&shape, 0, at(second));
        assert_eq!(meter.used(), used, "{second}");
    }
}

#[test]
fn a_fixed_window_is_aligned_to_1970() {
    let shape = Shape::new(&Window::Fixed(MINUTE));
    let mut meter = Meter::new(&shape, at(119.0));
    meter.charge(5);
    assert_eq!(meter.until(&shape, 4, 10, at(119.0)), Duration::from_secs(1));
    meter.advance(&shape, 10, at(120.0));
    assert_eq!(meter.used(), 0);
}

#[test]
fn a_clock_that_steps_back_frees_nothing_and_begins_nothing() {
    let hour = Duration::from_secs(3600);
    let calendar = Window::Calendar { period: Period::Hour, zone: "UTC".into() };
    for window in [Window::TokenBucket(hour), Window::Sliding(hour), Window::Fixed(hour), calendar] {
        let shape = Shape::new(&window);
        let mut meter = Meter::new(&shape, at(7200.0));
        meter.charge(10);
        for second in [7199.0, 3600.0, 0.0, 7200.0] {
            meter.advance(&shape, 10, at(second));
            assert_eq!(meter.used(), 10, "{window:?} {second}");
        }
        // What was stepped back over is not waited for twice, nor is it freed twice.
        meter.advance(&shape, 10, at(7200.0 + 3600.0 + 60.0));
        assert_eq!(meter.used(), 0, "{window:?}");
    }
}

#[test]
fn what_is_used_stops_at_the_most_that_there_is() {
    for window in [Window::TokenBucket(MINUTE), Window::Sliding(MINUTE), Window::Fixed(MINUTE)] {
        let shape = Shape::new(&window);
        let mut meter = Meter::new(&shape, at(0.0));
        meter.charge(u64::MAX);
        meter.charge(u64::MAX);
        assert_eq!(meter.used(), u64::MAX, "{window:?}");
        assert!(meter.until(&shape, 0, u64::MAX, at(0.0)) <= Duration::from_secs(61), "{window:?}");
        meter.advance(&shape, u64::MAX, at(61.0));
        assert_eq!(meter.used(), 0, "{window:?}");
    }
}
