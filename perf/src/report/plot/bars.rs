//! Horizontal bars, each with its spread.

use std::fmt::Write;

use super::{Scale, colour, escape, open, tidy};

const WIDTH: f64 = 620.0;
const LEFT: f64 = 120.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 36.0;
const ROW: f64 = 26.0;

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Its length.
    pub value: f64,
    /// The least and the greatest of the values that it stands for.
    pub spread: Option<(f64, f64)>,
    /// Whether it is the one to look at.
    pub is_ours: bool,
}

/// Draws bars on a logarithmic scale, since gateways differ by factors of ten and more; the numbers stand beside them.
#[must_use]
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let height = TOP + ROW * bars.len() as f64 + 10.0;
    let mut out = open(WIDTH, height, title);
    let ends = bars.iter().flat_map(|bar| {
        let (least, greatest) = bar.spread.unwrap_or((bar.value, bar.value));
        [least, greatest]
    });
    let (_, to) = Scale::Linear.span(ends.clone());
    let least = ends.fold(f64::INFINITY, f64::min).max(1e-6);
    // Where all are alike, a bar's length is its value; elsewhere its order of magnitude.
    let (scale, from) = if to / least > 12.0 { (Scale::Log, least / 2.0) } else { (Scale::Linear, 0.0) };
    let across = |value: f64| {
        let (from, to) = (scale.place(from), scale.place(to));
        let share = ((scale.place(value) - from) / (to - from)).clamp(0.0, 1.0);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    for (index, bar) in bars.iter().enumerate() {
        let top = TOP + ROW * index as f64;
        let end = across(bar.value);
        let fill = if bar.is_ours { colour(0) } else { "#a9b4bd" };
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#222222\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"18\" rx=\"2\" fill=\"{fill}\"/>",
            LEFT - 8.0,
            top + 13.0,
            escape(&bar.name),
            end - LEFT
        );
        let mut label_at = end;
        if let Some((least, greatest)) = bar.spread.filter(|(least, greatest)| least < greatest) {
            let (least, greatest) = (across(least), across(greatest));
            label_at = label_at.max(greatest);
            let _ = write!(
                out,
                "<path d=\"M{least:.1} {0}H{greatest:.1}M{least:.1} {1}v8M{greatest:.1} {1}v8\" stroke=\"#333333\"/>",
                top + 9.0,
                top + 5.0
            );
        }
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222222\">{} {}</text>",
            label_at + 8.0,
            top + 13.0,
            tidy(bar.value),
            escape(unit)
        );
    }
    out.push_str("</svg>");
    out
}
