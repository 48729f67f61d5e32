//! One line a request, for those who want to plot for themselves.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::record::CsvRow;

/// Writes requests in the order in which they were to be sent.
pub(super) fn write(path: &Path, rows: &mut [CsvRow]) -> io::Result<()> {
    rows.sort_by(|one, other| one.intended_s.total_cmp(&other.intended_s));
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "intended_s,late_ms,ttft_ms,e2e_ms,input_tokens,output_tokens,error")?;
    for row in rows {
        let ttft = row.ttft_ms.map_or(String::new(), |ttft| format!("{ttft:.3}"));
        let error = row.error.map_or(String::new(), |error| error.to_string());
        writeln!(
            out,
            "{:.6},{:.3},{ttft},{:.3},{},{},{error}",
            row.intended_s, row.late_ms, row.e2e_ms, row.input_tokens, row.output_tokens
        )?;
    }
    out.flush()
}
