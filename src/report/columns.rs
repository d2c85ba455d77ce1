//! The columns of a layer table: a row for each, with its name in CSV and on the command line, its head, and its value.

use super::table::{self, Value};
use crate::schedule::{Bound, Figures, LayerRow, Npu, Op};
use crate::units::{Bytes, Cycles, Ratio};

/// A column.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) head: &'static str,
    pub(super) value: fn(&Row) -> Value,
}

/// All columns, in order.
pub(super) const COLUMNS: &[Column] = &[
    Column { name: "layer", head: "layer", value: |row| Value::Text(row.name.clone()) },
    Column { name: "kind", head: "kind", value: |row| Value::Text(row.kind.clone()) },
    Column { name: "macs", head: "MACs", value: |row| Value::Count(row.figures.macs.get()) },
    Column { name: "weight_bytes", head: "weights", value: |row| Value::Bytes(row.figures.weight_bytes) },
    Column { name: "input_bytes", head: "inputs", value: |row| Value::Bytes(row.figures.input_bytes) },
    Column { name: "output_bytes", head: "outputs", value: |row| Value::Bytes(row.figures.output_bytes) },
    Column { name: "dram_bytes", head: "DRAM", value: |row| Value::Bytes(row.figures.dram_bytes) },
    Column { name: "floor_bytes", head: "floor", value: |row| Value::Bytes(row.floor_bytes) },
    Column { name: "sram_bytes", head: "SRAM", value: |row| row.sram_bytes.map_or(Value::Absent, Value::Bytes) },
    Column { name: "compute_cycles", head: "compute cyc", value: |row| Value::Exact(row.figures.compute_cycles.get()) },
    Column { name: "dma_cycles", head: "DMA cyc", value: |row| Value::Exact(row.figures.dma_cycles.get()) },
    Column { name: "bound", head: "bound", value: |row| Value::Text(row.bound().into()) },
    Column { name: "share", head: "share", value: |row| Value::percent(Ratio::of(row.longer.get(), row.of_all.get())) },
    Column { name: "array_utilization", head: "array", value: |row| Value::percent(row.array_utilization()) },
    Column { name: "arithmetic_intensity", head: "ops/B", value: |row| Value::ratio(row.figures.arithmetic_intensity) },
    Column { name: "attainable_ops", head: "ops/s", value: |row| row.attainable().map_or(Value::Absent, Value::Count) },
];

/// The names of all columns.
pub const COLUMN_NAMES: [&str; COLUMNS.len()] = {
    let mut names = [""; COLUMNS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = COLUMNS[i].name;
        i += 1;
    }
    names
};

/// A layer's row, or that of all layers together.
pub struct Row {
    pub(super) name: String,
    pub(super) kind: String,
    /// The file's figures.
    pub figures: Figures,
    pub(super) floor_bytes: Bytes,
    pub(super) sram_bytes: Option<Bytes>,
    /// The cycles of the engine that takes the longer; of all layers, their sum.
    pub longer: Cycles,
    /// The sum of `longer` over all layers.
    pub of_all: Cycles,
    /// What its roofline is made of.
    pub roof: Roof,
}

/// What a roofline is made of.
#[derive(Clone, Copy, Debug)]
pub struct Roof {
    /// Two a multiply-accumulate; of a vector layer its lane operations.
    pub operations: u64,
    /// Operations a second of the unit that does them.
    pub peak: u64,
    /// What the DRAM channel reaches.
    pub bytes_per_second: u64,
    macs_per_cycle: u64,
}

impl Row {
    pub(super) fn of_layer(npu: &Npu, row: &LayerRow, floor_bytes: Bytes, sram_bytes: Option<Bytes>) -> Self {
        let LayerRow { layer, figures } = row;
        let (operations, peak) = match layer.op {
            Op::Gemm => (figures.macs.get() * 2, npu.peak_operations()),
            Op::Vector | Op::Measured => {
                (layer.whole().volume().saturating_mul(layer.lane_operations), npu.peak_vector_operations())
            }
        };
        Self {
            name: layer.name.clone(),
            kind: layer.kind.clone(),
            figures: *figures,
            floor_bytes,
            sram_bytes,
            longer: figures.compute_cycles.max(figures.dma_cycles),
            of_all: Cycles::ZERO,
            roof: Roof::new(npu, operations, peak),
        }
    }

    /// The sums of all layers; of SRAM the most. Their operations are those of the products.
    pub(super) fn total(npu: &Npu, rows: &[Self]) -> Self {
        let bytes = |of: fn(&Self) -> Bytes| rows.iter().map(of).sum::<Bytes>();
        let cycles = |of: fn(&Self) -> Cycles| rows.iter().map(of).sum::<Cycles>();
        let macs = rows.iter().map(|row| row.figures.macs).sum::<crate::units::Macs>();
        let dram_bytes = bytes(|row| row.figures.dram_bytes);
        let (compute_cycles, dma_cycles) =
            (cycles(|row| row.figures.compute_cycles), cycles(|row| row.figures.dma_cycles));
        let operations = macs.get() * 2;
        let longer = cycles(|row| row.longer);
        Self {
            name: "total".into(),
            kind: String::new(),
            figures: Figures {
                macs,
                weight_bytes: bytes(|row| row.figures.weight_bytes),
                input_bytes: bytes(|row| row.figures.input_bytes),
                output_bytes: bytes(|row| row.figures.output_bytes),
                dram_bytes,
                compute_cycles,
                dma_cycles,
                arithmetic_intensity: Ratio::of(operations, dram_bytes.get()),
                bound: if compute_cycles >= dma_cycles { Bound::Compute } else { Bound::Memory },
            },
            floor_bytes: bytes(|row| row.floor_bytes),
            sram_bytes: rows.iter().filter_map(|row| row.sram_bytes).max(),
            longer,
            of_all: longer,
            roof: Roof::new(npu, operations, npu.peak_operations()),
        }
    }

    const fn bound(&self) -> &'static str {
        match self.figures.bound {
            Bound::Compute => "compute",
            Bound::Memory => "memory",
        }
    }

    /// What stands in a column, one of [`COLUMN_NAMES`], as CSV has it.
    pub fn exact(&self, column: &str) -> String {
        let column = COLUMNS.iter().find(|known| known.name == column);
        column.map_or_else(String::new, |column| (column.value)(self).exact())
    }

    /// The multiply-accumulates over what all multipliers could do in the same cycles.
    fn array_utilization(&self) -> Option<Ratio> {
        let macs = self.figures.macs.get();
        let all = self.roof.macs_per_cycle.checked_mul(self.figures.compute_cycles.get())?;
        Ratio::of(macs, all).filter(|_| macs > 0)
    }

    /// Operations a second that the roofline allows: those of the unit, or as many as DRAM brings the bytes for.
    pub(super) fn attainable(&self) -> Option<u64> {
        let Roof { operations, peak, bytes_per_second, macs_per_cycle: _ } = self.roof;
        if operations == 0 {
            return None;
        }
        let brought = u128::from(operations) * u128::from(bytes_per_second);
        let roof = brought.checked_div(u128::from(self.figures.dram_bytes.get())).unwrap_or(u128::MAX);
        Some(u64::try_from(roof).unwrap_or(u64::MAX).min(peak))
    }
}

impl Roof {
    fn new(npu: &Npu, operations: u64, peak: u64) -> Self {
        let rate = u128::from(npu.dram.bytes_per_second) * u128::from(npu.dram.efficiency_permille);
        let bytes_per_second = u64::try_from(rate / 1000).expect("at most what the description says");
        Self { operations, peak, bytes_per_second, macs_per_cycle: npu.peak_macs_per_cycle() }
    }
}

/// Sorts rows by a column: figures from the largest, words from A. What is equal stays as it was.
pub(super) fn sort(rows: &mut [Row], column: &Column) {
    rows.sort_by_cached_key(|row| table::sort_key(&(column.value)(row)));
}
