//! Tables and text for people, from schedules and simulations.

mod columns;
mod layers;
mod schedules;
mod table;
mod text;

pub use columns::{COLUMN_NAMES, Roof, Row};
pub use layers::{LayerTable, Selection, layer_csv, layer_tables};
pub use schedules::{compare_table, npu_table, simulation, summary_line};
pub use text::stream_text;

use std::io::{self, Write};

use serde::Serialize;

/// A JSON array, one item a line.
pub fn json_lines<T: Serialize>(out: &mut impl Write, items: impl IntoIterator<Item = T>) -> io::Result<()> {
    write!(out, "[")?;
    for (i, item) in items.into_iter().enumerate() {
        writeln!(out, "{}", if i > 0 { "," } else { "" })?;
        serde_json::to_writer(&mut *out, &item).map_err(io::Error::from)?;
    }
    writeln!(out, "\n]")
}
