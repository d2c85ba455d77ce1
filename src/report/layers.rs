//! The layers of a model with their figures, as a table or as CSV.

use std::io::{self, Write};

use super::columns::{self, COLUMNS, Row};
use super::table::{self, Value};
use crate::schedule::{IdVec, LayerId, Npu, ScheduledModel};
use crate::units::{Bytes, Ratio};

/// A model's layers with what the file does not have of them.
pub struct LayerTable {
    /// The layers, and what they cost.
    pub model: ScheduledModel,
    /// What must cross the DRAM channel for each: each tensor once.
    pub floor_bytes: IdVec<LayerId, Bytes>,
    /// The most that is held while it runs; `None` where the model has no layout on this NPU.
    pub sram_bytes: Option<IdVec<LayerId, Bytes>>,
}

impl LayerTable {
    /// A row for each layer, and one for all of them together.
    pub fn rows(&self, npu: &Npu) -> (Vec<Row>, Row) {
        let of_layer = |(id, row)| {
            let sram_bytes = self.sram_bytes.as_ref().map(|of_layers| of_layers[id]);
            Row::of_layer(npu, row, self.floor_bytes[id], sram_bytes)
        };
        let mut rows: Vec<Row> = self.model.layers.iter_with_ids().map(of_layer).collect();
        let total = Row::total(npu, &rows);
        rows.iter_mut().for_each(|row| row.of_all = total.of_all);
        (rows, total)
    }
}

/// Which layers are shown, and in which order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// The column to sort by, one of [`super::COLUMN_NAMES`]: figures from the largest, words from A.
    pub sort: Option<&'a str>,
    /// So many layers of each model, the first.
    pub top: Option<usize>,
}

/// A table for each model, with totals, the NPU's ridge point and the model's place under the roofline.
pub fn layer_tables(out: &mut impl Write, npu: &Npu, tables: &[LayerTable], selection: Selection) -> io::Result<()> {
    for (i, of_model) in tables.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        let (rows, total) = selected(npu, of_model, selection);
        let name = &of_model.model.name;
        write!(out, "{name} on {}: {} layers", npu.name, of_model.model.layers.len())?;
        match rows.len() < of_model.model.layers.len() {
            true => writeln!(out, ", of which {}", rows.len())?,
            false => writeln!(out)?,
        }
        let shown = |row: &Row| COLUMNS.iter().map(|column| (column.value)(row).shown()).collect::<Vec<_>>();
        let cells: Vec<Vec<String>> = rows.iter().chain([&total]).map(shown).collect();
        table::write(out, 2, &COLUMNS.iter().map(|column| column.head).collect::<Vec<_>>(), &cells)?;
        roofline(out, npu, name, &total)?;
    }
    Ok(())
}

/// Where the roofline bends, and where a model is under it.
fn roofline(out: &mut impl Write, npu: &Npu, model: &str, total: &Row) -> io::Result<()> {
    let peak = total.roof.peak;
    let bytes = total.roof.bytes_per_second;
    let Some(ridge) = Ratio::of(peak, bytes) else { return Ok(()) };
    let per_second = |count: u64| Value::Count(count).shown();
    writeln!(
        out,
        "{}: peak {}op/s, DRAM {}B/s, ridge point {ridge:.1} operations per byte",
        npu.name,
        per_second(peak),
        per_second(bytes)
    )?;
    match (total.figures.arithmetic_intensity, total.attainable()) {
        (Some(intensity), Some(attainable)) => writeln!(
            out,
            "{model}: {intensity:.1} operations per byte, for which the roofline is {}op/s",
            per_second(attainable)
        ),
        (_, _) => Ok(()),
    }
}

/// One header, and a row for each layer of each model.
pub fn layer_csv(out: &mut impl Write, npu: &Npu, tables: &[LayerTable], selection: Selection) -> io::Result<()> {
    let names: Vec<&str> = ["model"].into_iter().chain(COLUMNS.iter().map(|column| column.name)).collect();
    writeln!(out, "{}", names.join(","))?;
    for of_model in tables {
        for row in selected(npu, of_model, selection).0 {
            let values = COLUMNS.iter().map(|column| (column.value)(&row).exact());
            let line: Vec<String> = [of_model.model.name.clone()].into_iter().chain(values).map(quoted).collect();
            writeln!(out, "{}", line.join(","))?;
        }
    }
    Ok(())
}

/// The layers that are shown, and all of the model's together.
fn selected(npu: &Npu, table: &LayerTable, Selection { sort, top }: Selection) -> (Vec<Row>, Row) {
    let (mut rows, total) = table.rows(npu);
    if let Some(column) = COLUMNS.iter().find(|column| Some(column.name) == sort) {
        columns::sort(&mut rows, column);
    }
    rows.truncate(top.unwrap_or(usize::MAX));
    (rows, total)
}

/// A CSV field (RFC 4180).
fn quoted(text: String) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}
