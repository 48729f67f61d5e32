use super::*;

#[test]
fn ticks_are_round_and_within_the_axis() {
    let names =
        |scale: Scale, from, to| scale.ticks(from, to).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
    assert_eq!(names(Scale::Linear, 0.0, 10.5), ["0", "5", "10"]);
    assert_eq!(names(Scale::Linear, 0.0, 0.9), ["0", "0.2", "0.4", "0.6", "0.8"]);
    assert_eq!(names(Scale::Log, 1.0, 1e5), ["1", "10", "100", "1000", "10000", "100000"]);
    assert_eq!(names(Scale::Nines, 0.0, 99.9), ["0", "50", "90", "99", "99.9"]);
}

#[test]
fn each_nine_has_as_much_room() {
    let place = |value| Scale::Nines.place(value);
    assert!((place(99.0) - place(90.0) - (place(99.9) - place(99.0))).abs() < 1e-9);
    assert!(place(100.0).is_finite());
}

#[test]
fn plots_hold_what_they_are_given_and_escape_it() {
    let line = Line { name: "a<b".to_owned(), points: vec![(1.0, 5.0), (10.0, 50.0)] };
    let plot = lines("cost & size", (Scale::Log, "KB"), (Scale::Linear, "µs"), &[line]);
    assert!(plot.contains("a&lt;b") && plot.contains("cost &amp; size") && !plot.contains("NaN"), "{plot}");
    assert_eq!(plot.matches("<circle").count(), 2);
    let bar = |value, spread| Bar { name: "x".to_owned(), value, spread, is_ours: false };
    let plot = bars("CPU", "µs", &[bar(3.0, None), bar(900.0, Some((800.0, 1000.0)))]);
    assert!(plot.contains("900 µs") && !plot.contains("NaN"), "{plot}");
}

#[test]
fn nothing_to_plot_is_an_empty_plot() {
    let plot = lines("empty", (Scale::Linear, "s"), (Scale::Log, "ms"), &[]);
    assert!(plot.ends_with("</svg>") && !plot.contains("NaN") && !plot.contains("inf"), "{plot}");
    assert!(!bars("empty", "ms", &[]).contains("NaN"));
}
