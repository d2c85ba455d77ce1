//! The NPU description: a machine of two engines and one scratchpad, in whole numbers.

mod library;

use serde::{Deserialize, Serialize};

pub use library::{NAMES, named};

use crate::units::Bytes;

/// A validated description. Its JSON is the file that a user writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Npu {
    /// What it is called.
    pub name: String,
    /// Where each figure is from.
    pub source: String,
    /// What nobody published, and why this value.
    pub assumed: Vec<String>,
    /// Cycles a second of the one clock that all figures count in.
    pub clock_hz: u64,
    /// The arrays that multiply.
    pub matrix: Matrix,
    /// The unit on their output.
    pub vector: Vector,
    /// Added to every compute command but measured ones.
    pub command_cycles: u64,
    /// The scratchpad.
    pub sram: Sram,
    /// The one DRAM channel.
    pub dram: Dram,
    /// What float tensors take, unless the user says otherwise.
    pub precision: Precision,
}

/// Equal arrays that share the work of each command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawMatrix", into = "RawMatrix")]
pub struct Matrix {
    /// How many.
    pub arrays: u64,
    /// Multipliers along the reduced dimension (of a weight-stationary array).
    pub rows: u64,
    /// Multipliers along the columns of the result.
    pub columns: u64,
    /// What an array does in a cycle.
    pub kind: MatrixKind,
}

impl Matrix {
    /// Which operand stays; of an adder tree the weights.
    pub const fn dataflow(&self) -> Dataflow {
        match self.kind {
            MatrixKind::Systolic { dataflow, double_buffered_weights: _, fill_rows_per_cycle: _ } => dataflow,
            MatrixKind::AdderTree => Dataflow::WeightStationary,
        }
    }
}

/// How an array multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatrixKind {
    /// Data ripple through the array: it has to be filled and drained.
    Systolic {
        /// Which operand stays.
        dataflow: Dataflow,
        /// Whether the next fold's fill hides behind this one's stream.
        double_buffered_weights: bool,
        /// Rows of the array that are filled each cycle.
        fill_rows_per_cycle: u64,
    },
    /// `rows` inputs are reduced for each of `columns` outputs in one cycle; weight-stationary.
    AdderTree,
}

/// Which operand of a product stays in a systolic array while the others stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dataflow {
    /// Weights: k on the rows, n on the columns, m streams.
    WeightStationary,
    /// Results: m on the rows, n on the columns, k streams.
    OutputStationary,
    /// Inputs: k on the rows, m on the columns, n streams.
    InputStationary,
}

/// The vector unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Lane operations a cycle.
    pub lanes: u64,
}

/// One scratchpad, with no fixed split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sram {
    /// All of it.
    pub bytes: Bytes,
    /// Every buffer's address is a multiple of it.
    pub alignment_bytes: Bytes,
}

/// One DRAM channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dram {
    /// The peak rate.
    pub bytes_per_second: u64,
    /// How much of the peak is reached, in thousandths.
    pub efficiency_permille: u64,
    /// Transfers are rounded up to whole bursts.
    pub burst_bytes: u64,
    /// From the end of a transfer on the channel until its data can be used.
    pub latency_cycles: u64,
    /// Before each transfer, on the channel.
    pub setup_cycles: u64,
}

/// The format that float tensors take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 8-bit integers.
    Int8,
    /// 16-bit brain floats.
    Bf16,
    /// 16-bit IEEE floats.
    Fp16,
    /// 32-bit IEEE floats.
    Fp32,
}

impl Precision {
    /// Width of an element.
    pub const fn bits(self) -> u64 {
        match self {
            Self::Int8 => 8,
            Self::Bf16 | Self::Fp16 => 16,
            Self::Fp32 => 32,
        }
    }
}

/// Why a description is refused: the field's path, what is wrong, and what may stand there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct NpuError {
    /// `dram.burst_bytes`; of the whole file `.`.
    pub path: String,
    /// A sentence's end.
    pub what: String,
}

impl Npu {
    /// Reads and validates a description.
    pub fn from_json(text: &[u8]) -> Result<Self, NpuError> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let npu: Self = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| NpuError { path: error.path().to_string(), what: error.inner().to_string() })?;
        json.end().map_err(|error| NpuError { path: ".".into(), what: error.to_string() })?;
        npu.validate()?;
        Ok(npu)
    }

    /// Whether every number is in its range. The upper ends are far beyond any chip; within them no cost leaves `u64`.
    pub fn validate(&self) -> Result<(), NpuError> {
        let fill = match self.matrix.kind {
            MatrixKind::Systolic { fill_rows_per_cycle, .. } => fill_rows_per_cycle,
            MatrixKind::AdderTree => 1,
        };
        let ranges = [
            ("clock_hz", self.clock_hz, 1, 1 << 40),
            ("matrix.arrays", self.matrix.arrays, 1, 1_000_000),
            ("matrix.rows", self.matrix.rows, 1, 1 << 16),
            ("matrix.columns", self.matrix.columns, 1, 1 << 16),
            ("matrix.fill_rows_per_cycle", fill, 1, 1 << 16),
            ("vector.lanes", self.vector.lanes, 1, 1 << 32),
            ("command_cycles", self.command_cycles, 0, 1 << 24),
            ("sram.bytes", self.sram.bytes.get(), 1, 1 << 48),
            ("sram.alignment_bytes", self.sram.alignment_bytes.get(), 1, self.sram.bytes.get()),
            ("dram.bytes_per_second", self.dram.bytes_per_second, 1, 1 << 60),
            ("dram.efficiency_permille", self.dram.efficiency_permille, 1, 1000),
            ("dram.burst_bytes", self.dram.burst_bytes, 1, 1 << 30),
            ("dram.latency_cycles", self.dram.latency_cycles, 0, 1 << 24),
            ("dram.setup_cycles", self.dram.setup_cycles, 0, 1 << 24),
        ];
        match ranges.iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
            None => Ok(()),
            Some((path, value, least, most)) => Err(NpuError {
                path: (*path).to_owned(),
                what: format!("is {value}; give a whole number from {least} to {most}"),
            }),
        }
    }

    /// Multiply-accumulates a cycle when every multiplier is busy.
    pub fn peak_macs_per_cycle(&self) -> u64 {
        self.matrix.arrays * self.matrix.rows * self.matrix.columns
    }
}

/// `matrix` as the file has it: the systolic fields may be missing from an adder tree.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMatrix {
    kind: RawKind,
    arrays: u64,
    rows: u64,
    columns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataflow: Option<Dataflow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    double_buffered_weights: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fill_rows_per_cycle: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawKind {
    Systolic,
    AdderTree,
}

impl TryFrom<RawMatrix> for Matrix {
    type Error = String;

    fn try_from(raw: RawMatrix) -> Result<Self, String> {
        let RawMatrix { kind, arrays, rows, columns, dataflow, double_buffered_weights, fill_rows_per_cycle } = raw;
        let missing = |field: &str| format!("{field} is missing: a systolic array needs it");
        let kind = match kind {
            RawKind::AdderTree => match dataflow {
                None | Some(Dataflow::WeightStationary) => MatrixKind::AdderTree,
                Some(Dataflow::OutputStationary | Dataflow::InputStationary) => {
                    return Err("dataflow: an adder tree is weight-stationary".into());
                }
            },
            RawKind::Systolic => MatrixKind::Systolic {
                dataflow: dataflow.ok_or_else(|| missing("dataflow"))?,
                double_buffered_weights: double_buffered_weights.ok_or_else(|| missing("double_buffered_weights"))?,
                fill_rows_per_cycle: fill_rows_per_cycle.ok_or_else(|| missing("fill_rows_per_cycle"))?,
            },
        };
        Ok(Self { arrays, rows, columns, kind })
    }
}

impl From<Matrix> for RawMatrix {
    fn from(Matrix { arrays, rows, columns, kind }: Matrix) -> Self {
        let (kind, dataflow, double, fill) = match kind {
            MatrixKind::AdderTree => (RawKind::AdderTree, None, None, None),
            MatrixKind::Systolic { dataflow, double_buffered_weights, fill_rows_per_cycle } => {
                (RawKind::Systolic, Some(dataflow), Some(double_buffered_weights), Some(fill_rows_per_cycle))
            }
        };
        Self { kind, arrays, rows, columns, dataflow, double_buffered_weights: double, fill_rows_per_cycle: fill }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(path: &str, value: serde_json::Value) -> Result<Npu, NpuError> {
        let mut json = serde_json::to_value(named("paper-like").unwrap()).unwrap();
        *json.pointer_mut(path).unwrap() = value;
        Npu::from_json(json.to_string().as_bytes())
    }

    #[test]
    fn every_zero_and_every_excess_is_refused_by_its_path() {
        for path in ["clock_hz", "matrix/arrays", "vector/lanes", "sram/bytes", "dram/burst_bytes"] {
            let error = changed(&format!("/{path}"), 0.into()).unwrap_err();
            assert_eq!(error.path, path.replace('/', "."));
        }
        assert_eq!(changed("/dram/efficiency_permille", 1001.into()).unwrap_err().path, "dram.efficiency_permille");
        for path in ["/command_cycles", "/dram/latency_cycles", "/dram/setup_cycles"] {
            assert!(changed(path, 0.into()).is_ok(), "{path} may be 0");
        }
    }

    #[test]
    fn unknown_and_missing_fields_are_refused() {
        let unknown = changed("/dram", serde_json::json!({"bytes": 1})).unwrap_err();
        assert_eq!(unknown.path, "dram.bytes");
        let fractional = changed("/clock_hz", serde_json::json!(1.5)).unwrap_err();
        assert_eq!(fractional.path, "clock_hz");
        let systolic = serde_json::json!({"kind": "systolic", "arrays": 1, "rows": 8, "columns": 8});
        assert!(changed("/matrix", systolic).unwrap_err().what.contains("dataflow is missing"));
        let tree = serde_json::json!({"kind": "adder-tree", "arrays": 1, "rows": 8, "columns": 8});
        assert_eq!(changed("/matrix", tree).unwrap().matrix.kind, MatrixKind::AdderTree);
    }
}
