//! Plots as inline SVG: lines and bars, which is all that the reports need.
//!
//! Written by hand, since a page must draw itself without a network and a plotting crate would bring fonts and
//! rasterizers. Colours are Okabe and Ito's, which the colour-blind can tell apart.

mod bars;
mod lines;
mod scale;

pub use self::{
    bars::{Bar, bars},
    lines::{Line, lines},
    scale::Scale,
};

/// Colours of series, in order.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#6b6b6b"];

/// The colour of the n-th series.
fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// Text for XML.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number with as many digits as it takes to read it.
pub(crate) fn tidy(value: f64) -> String {
    let digits = match value.abs() {
        ..1e-9 | 100.0.. => 0,
        10.0..100.0 => 1,
        1.0..10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The beginning of an SVG of this size, which takes its text colour from the page.
fn open(width: f64, height: f64, title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\
         <title>{title}</title>\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\
         <text x=\"12\" y=\"20\" font-size=\"14\" font-weight=\"600\" fill=\"#222222\">{title}</text>",
        title = escape(title)
    )
}

#[cfg(test)]
mod tests;
