//! The NPU description: a machine of two engines and one scratchpad, in whole numbers.

mod library;
mod matrix;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use library::{NAMES, named};
pub use matrix::{Dataflow, Matrix, MatrixKind};

use crate::units::Bytes;

/// The most lane operations of a point: beyond any operator of one element.
const MOST_OPERATIONS: u64 = 1 << 16;

/// The most operations that a chip may do a second: 4.6 exaoperations, far beyond any.
const MOST_PER_SECOND: u128 = 1 << 62;

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

/// The vector unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Lane operations a cycle.
    pub lanes: u64,
    /// What a point of these operators costs a lane, where it is not what the frontend says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<String, u64>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 4-bit integers.
    Int4,
    /// 8-bit floats, of either split.
    Fp8,
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
    /// All of them, the narrowest first.
    pub const ALL: [Self; 6] = [Self::Int4, Self::Fp8, Self::Int8, Self::Bf16, Self::Fp16, Self::Fp32];

    /// As files and the command line have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int4 => "int4",
            Self::Fp8 => "fp8",
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
            Self::Fp32 => "fp32",
        }
    }

    /// Width of an element.
    pub const fn bits(self) -> u64 {
        match self {
            Self::Int4 => 4,
            Self::Fp8 | Self::Int8 => 8,
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

    /// Cycles for a byte over the DRAM channel at its full rate, as a fraction:
    /// `clock · 1000 / (bytes_per_second · efficiency_permille)`.
    pub fn cycles_per_byte(&self) -> (u128, u128) {
        let Dram { bytes_per_second, efficiency_permille, .. } = self.dram;
        (u128::from(self.clock_hz) * 1000, u128::from(bytes_per_second) * u128::from(efficiency_permille))
    }

    /// Whether every number is in its range. The upper ends are far beyond any chip; within them no cost leaves `u64`.
    pub fn validate(&self) -> Result<(), NpuError> {
        if matches!(self.precision, Precision::Int4 | Precision::Fp8) {
            let what = format!(
                "is {}; give int8, bf16, fp16 or fp32, and narrower ones by --precision",
                self.precision.name()
            );
            return Err(NpuError { path: "precision".into(), what });
        }
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
            ("matrix.accumulator_bytes", self.matrix.accumulator_bytes.map_or(1, Bytes::get), 1, 1 << 48),
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
        let ranges = ranges.into_iter().map(|(path, value, least, most)| (path.to_owned(), value, least, most));
        let of_operator =
            |(name, &value): (&String, &u64)| (format!("vector.operations.{name}"), value, 1, MOST_OPERATIONS);
        let mut all = ranges.chain(self.vector.operations.iter().map(of_operator));
        if let Some((path, value, least, most)) = all.find(|(_, value, least, most)| !(least..=most).contains(&value)) {
            return Err(NpuError { path, what: format!("is {value}; give a whole number from {least} to {most}") });
        }
        self.matrix.check_rates(self.precision)?;
        self.check_peaks()
    }

    /// Whether each number may be as large as it is together with the others.
    fn check_peaks(&self) -> Result<(), NpuError> {
        let clock = u128::from(self.clock_hz);
        let macs = self.matrix.peak_macs_per_cycle(self.precision);
        let peaks = [
            ("matrix", "arrays · rows · columns · 2 · clock_hz", macs.saturating_mul(2 * clock)),
            ("vector.lanes", "lanes · clock_hz", u128::from(self.vector.lanes) * clock),
        ];
        match peaks.into_iter().find(|(_, _, peak)| *peak > MOST_PER_SECOND) {
            None => Ok(()),
            Some((path, formula, peak)) => {
                let what = format!("does {formula} = {peak} operations a second; give it {MOST_PER_SECOND} at most");
                Err(NpuError { path: path.into(), what })
            }
        }
    }

    /// Multiply-accumulates a cycle when every multiplier is busy, at the NPU's own precision.
    pub fn peak_macs_per_cycle(&self) -> u64 {
        bounded(self.matrix.peak_macs_per_cycle(self.precision))
    }

    /// Operations a second when every multiplier is busy, two a multiply-accumulate.
    pub fn peak_operations(&self) -> u64 {
        bounded(self.matrix.peak_macs_per_cycle(self.precision) * 2 * u128::from(self.clock_hz))
    }

    /// Operations a second when every lane is busy.
    pub fn peak_vector_operations(&self) -> u64 {
        bounded(u128::from(self.vector.lanes) * u128::from(self.clock_hz))
    }
}

/// A peak of a description, which is within what `validate` admits.
fn bounded(peak: u128) -> u64 {
    u64::try_from(peak).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(path: &str, value: serde_json::Value) -> Result<Npu, NpuError> {
        let mut json = serde_json::to_value(named("paper-like").unwrap()).unwrap();
        *json.pointer_mut(path).unwrap() = value;
        Npu::from_json(json.to_string().as_bytes())
    }

    /// `paper-like`, which is of bf16, with rates of its own.
    fn rated(rates: serde_json::Value) -> Result<Npu, NpuError> {
        let mut json = serde_json::to_value(named("paper-like").unwrap()).unwrap();
        json["matrix"]["precision_rate"] = rates;
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

    /// Each number within its range, and all together beyond what a sum of them could hold: 10^6 · 2^16 · 2^16 · 2 · 2^40
    /// operations a second, and 2^32 · 2^40. With 2^20 Hz the arrays alone are at 2^73; the lanes are at 2^52.
    #[test]
    fn numbers_that_are_too_large_together_are_refused() {
        let with = |clock: u64, arrays: u64, side: u64, lanes: u64| {
            let mut json = serde_json::to_value(named("paper-like").unwrap()).unwrap();
            json["clock_hz"] = clock.into();
            json["matrix"]["arrays"] = arrays.into();
            json["matrix"]["rows"] = side.into();
            json["matrix"]["columns"] = side.into();
            json["vector"]["lanes"] = lanes.into();
            Npu::from_json(json.to_string().as_bytes())
        };
        assert_eq!(with(1 << 20, 1_000_000, 1 << 16, 1 << 32).unwrap_err().path, "matrix");
        assert_eq!(with(1 << 40, 1, 1, 1 << 32).unwrap_err().path, "vector.lanes");
        // 2^10 · 2^10 · 2 · 2^40 = 2^61, and 2^22 · 2^40 = 2^62: the most that there may be.
        let most = with(1 << 40, 1, 1 << 10, 1 << 22).unwrap();
        assert_eq!((most.peak_operations(), most.peak_vector_operations()), (1 << 61, 1 << 62));
    }

    #[test]
    fn unknown_and_missing_fields_are_refused() {
        let unknown = changed("/dram", serde_json::json!({"bytes": 1})).unwrap_err();
        assert_eq!(unknown.path, "dram.bytes");
        assert_eq!(changed("/precision", "int4".into()).unwrap_err().path, "precision");
        let fractional = changed("/clock_hz", serde_json::json!(1.5)).unwrap_err();
        assert_eq!(fractional.path, "clock_hz");
        let systolic = serde_json::json!({"kind": "systolic", "arrays": 1, "rows": 8, "columns": 8});
        assert!(changed("/matrix", systolic).unwrap_err().what.contains("dataflow is missing"));
        let tree = serde_json::json!({"kind": "adder-tree", "arrays": 1, "rows": 8, "columns": 8});
        assert_eq!(changed("/matrix", tree).unwrap().matrix.kind, MatrixKind::AdderTree);
    }

    /// Rates are by width: fp16 has that of bf16. The peak is the NPU's own precision's: 4 · 128 · 128 · 2.
    #[test]
    fn a_cell_makes_as_many_products_as_its_precision_allows() {
        let npu = rated(serde_json::json!({"int8": 4, "bf16": 2, "fp8": 4})).unwrap();
        assert_eq!([4, 8, 16, 32].map(|bits| npu.matrix.rate(bits)), [None, Some(4), Some(2), None]);
        assert_eq!(npu.peak_macs_per_cycle(), 4 * 128 * 128 * 2);
        let json = serde_json::to_value(&npu).unwrap();
        assert_eq!(json["matrix"]["precision_rate"], serde_json::json!({"fp8": 4, "int8": 4, "bf16": 2}));
    }

    #[test]
    fn rates_that_contradict_or_lack_the_own_precision_are_refused() {
        let what = |rates| rated(rates).unwrap_err().to_string();
        assert!(what(serde_json::json!({"bf16": 1, "fp16": 2})).contains("bf16 and fp16 are of one width"));
        assert!(what(serde_json::json!({"int8": 2})).contains("has no rate for bf16"));
        assert!(what(serde_json::json!({"bf16": 0})).starts_with("matrix.precision_rate.bf16: is 0"));
        assert!(what(serde_json::json!({"bf16": 1, "int5": 1})).starts_with("matrix"));
    }

    #[test]
    fn an_operator_costs_something() {
        let vector = |operations: u64| serde_json::json!({"lanes": 8, "operations": {"Softmax": operations}});
        assert_eq!(changed("/vector", vector(0)).unwrap_err().path, "vector.operations.Softmax");
        assert_eq!(changed("/vector", vector(8)).unwrap().vector.operations["Softmax"], 8);
    }

    #[test]
    fn accumulators_hold_something() {
        let with = |bytes: u64| {
            let mut json = serde_json::to_value(named("paper-like").unwrap()).unwrap();
            json["matrix"]["accumulator_bytes"] = bytes.into();
            Npu::from_json(json.to_string().as_bytes())
        };
        assert_eq!(with(0).unwrap_err().path, "matrix.accumulator_bytes");
        assert_eq!(with(1 << 20).unwrap().matrix.accumulator_bytes, Some(Bytes(1 << 20)));
    }

    #[test]
    fn a_format_is_called_as_files_have_it() {
        for precision in Precision::ALL {
            assert_eq!(serde_json::to_value(precision).unwrap(), precision.name());
        }
    }
}
