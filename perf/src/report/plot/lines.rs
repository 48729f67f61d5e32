//! Lines over an axis.

use std::fmt::Write;

use super::{Scale, colour, escape, open};

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 46.0;

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// Draws lines; `x` and `y` are the axes' scales and labels.
#[must_use]
pub fn lines(title: &str, x: (Scale, &str), y: (Scale, &str), lines: &[Line]) -> String {
    let mut out = open(WIDTH, HEIGHT, title);
    let shows = |point: &&(f64, f64)| x.0.holds(point.0) && y.0.holds(point.1);
    let points = || lines.iter().flat_map(|line| line.points.iter().filter(shows).copied());
    let (x_from, x_to) = x.0.span(points().map(|point| point.0));
    let (y_from, y_to) = y.0.span(points().map(|point| point.1));
    let across = |value: f64| fit(x.0, value, x_from, x_to, LEFT, WIDTH - RIGHT);
    let up = |value: f64| fit(y.0, value, y_from, y_to, HEIGHT - BOTTOM, TOP);
    legend(lines, &mut out);
    for (value, name) in y.0.ticks(y_from, y_to) {
        let at = up(value);
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#e3e3e3\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555555\">{name}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (value, name) in x_ticks(x.0, x_from, x_to, lines) {
        let at = across(value);
        let _ = write!(
            out,
            "<path d=\"M{at:.1} {0}v5\" stroke=\"#999999\"/><text x=\"{at:.1}\" y=\"{1}\" text-anchor=\"middle\" fill=\"#555555\">{name}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 19.0
        );
    }
    let _ = write!(
        out,
        "<path d=\"M{LEFT} {0}H{1}\" stroke=\"#999999\"/>\
         <text x=\"{2}\" y=\"{3}\" text-anchor=\"middle\" fill=\"#555555\">{4}</text>\
         <text x=\"12\" y=\"{5}\" fill=\"#555555\">{6}</text>",
        HEIGHT - BOTTOM,
        WIDTH - RIGHT,
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 8.0,
        escape(x.1),
        TOP - 8.0,
        escape(y.1)
    );
    for (index, line) in lines.iter().enumerate() {
        let places: Vec<String> = line
            .points
            .iter()
            .filter(shows)
            .map(|point| format!("{:.1},{:.1}", across(point.0), up(point.1)))
            .collect();
        let stroke = colour(index);
        let _ = write!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2\" stroke-linejoin=\"round\"/>",
            places.join(" ")
        );
        // Few points are measurements; many are a curve.
        if line.points.len() <= 8 {
            for place in &places {
                if let Some((x, y)) = place.split_once(',') {
                    let _ = write!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3.5\" fill=\"{stroke}\"/>");
                }
            }
        }
    }
    out.push_str("</svg>");
    out
}

/// A few measured values are named themselves; between many, round ones are.
fn x_ticks(scale: Scale, from: f64, to: f64, lines: &[Line]) -> Vec<(f64, String)> {
    let mut values: Vec<f64> =
        lines.iter().flat_map(|line| line.points.iter().map(|point| point.0)).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    if scale == Scale::Log && values.len() <= 6 {
        return values.into_iter().map(|value| (value, super::tidy(value))).collect();
    }
    scale.ticks(from, to)
}

fn fit(scale: Scale, value: f64, from: f64, to: f64, low: f64, high: f64) -> f64 {
    let (from, to) = (scale.place(from), scale.place(to));
    let share = if to > from { (scale.place(value) - from) / (to - from) } else { 0.5 };
    low + share.clamp(0.0, 1.0) * (high - low)
}

fn legend(lines: &[Line], out: &mut String) {
    /// About the width of a character, in pixels.
    const CHARACTER: f64 = 7.0;
    let mut at = LEFT + 60.0;
    let mut down = 38.0;
    for (index, line) in lines.iter().enumerate() {
        let width = 22.0 + line.name.chars().count() as f64 * CHARACTER;
        if at + width > WIDTH - RIGHT {
            at = LEFT + 60.0;
            down += 16.0;
        }
        let _ = write!(
            out,
            "<path d=\"M{at} {0}h14\" stroke=\"{1}\" stroke-width=\"3\"/><text x=\"{2}\" y=\"{down}\" fill=\"#222222\">{3}</text>",
            down - 4.0,
            colour(index),
            at + 18.0,
            escape(&line.name)
        );
        at += width + 8.0;
    }
}
