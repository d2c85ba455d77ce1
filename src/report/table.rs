//! Plain tables: a header, rows, columns as wide as what is in them.

use std::cmp::Reverse;
use std::io::{self, Write};

use crate::units::{Bytes, Ratio};

/// Writes rows under a header; `left` many columns are set flush left, the others right.
pub(super) fn write(out: &mut impl Write, left: usize, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    for row in [&header].into_iter().chain(rows) {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column < left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// Shown with a decimal prefix.
    Count(u64),
    /// Shown to the last digit.
    Exact(u64),
    /// Shown with a binary prefix.
    Bytes(Bytes),
    Ratio(Ratio),
    Percent(Ratio),
    /// Where there is nothing to say.
    Absent,
}

impl Value {
    pub(super) fn ratio(ratio: Option<Ratio>) -> Self {
        ratio.map_or(Self::Absent, Self::Ratio)
    }

    pub(super) fn percent(ratio: Option<Ratio>) -> Self {
        ratio.map_or(Self::Absent, Self::Percent)
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Count(count) => prefixed(*count, 1000, &["", "k", "M", "G", "T", "P", "E"]),
            Self::Bytes(bytes) => prefixed(bytes.get(), 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]),
            Self::Ratio(ratio) => format!("{ratio:.1}"),
            Self::Percent(ratio) => {
                let hundredfold = Ratio::of(ratio.millionths() * 100, 1_000_000);
                hundredfold.map_or_else(String::new, |percent| format!("{percent:.1} %"))
            }
            Self::Text(_) | Self::Exact(_) | Self::Absent => self.exact(),
        }
    }

    /// For programs: nothing is rounded but ratios, to six digits.
    pub(super) fn exact(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) | Self::Exact(count) => count.to_string(),
            Self::Bytes(bytes) => bytes.get().to_string(),
            Self::Ratio(ratio) | Self::Percent(ratio) => format!("{ratio:.6}"),
            Self::Absent => String::new(),
        }
    }
}

/// What a column is sorted by: figures from the largest, then words from A, then what is absent.
pub(super) fn sort_key(value: &Value) -> (u8, Reverse<u64>, String) {
    match value {
        Value::Count(figure) | Value::Exact(figure) | Value::Bytes(Bytes(figure)) => {
            (0, Reverse(*figure), String::new())
        }
        Value::Ratio(ratio) | Value::Percent(ratio) => (0, Reverse(ratio.millionths()), String::new()),
        Value::Text(text) => (1, Reverse(0), text.clone()),
        Value::Absent => (2, Reverse(0), String::new()),
    }
}

/// A figure with one decimal of the largest prefix that it reaches: `118.0 M`, `18.5 KiB`.
fn prefixed(figure: u64, step: u64, prefixes: &[&str]) -> String {
    let mut unit = 1;
    let mut at = 0;
    while at + 1 < prefixes.len() && figure / unit >= step {
        unit *= step;
        at += 1;
    }
    match (Ratio::of(figure, unit), at) {
        (Some(scaled), 1..) => format!("{scaled:.1} {}", prefixes[at]),
        (_, _) => format!("{figure} {}", prefixes[0]).trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 118,013,952 are 118.01 million; 18,944 bytes are 18.5 times 1024; below the first step nothing is rounded.
    #[test]
    fn figures_take_the_largest_prefix_that_they_reach() {
        assert_eq!(Value::Count(118_013_952).shown(), "118.0 M");
        assert_eq!(Value::Count(999).shown(), "999");
        assert_eq!(Value::Bytes(Bytes(18_944)).shown(), "18.5 KiB");
        assert_eq!(Value::Bytes(Bytes(1023)).shown(), "1023 B");
        assert_eq!(Value::percent(Ratio::of(1, 3)).shown(), "33.3 %");
        assert_eq!(Value::percent(Ratio::of(1, 3)).exact(), "0.333333");
    }
}
