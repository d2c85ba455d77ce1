//! The arrays that multiply, and how a file says them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{NpuError, Precision};
use crate::units::Bytes;

/// The most products of a cell in a cycle: beyond any chip.
const MOST_PRODUCTS: u64 = 64;

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
    /// Products that a cell makes each cycle, by precision; without it one, of any.
    pub precision_rate: Option<BTreeMap<Precision, u64>>,
    /// What holds the sums of a product whose k is cut or folds; without it there is always room.
    pub accumulator_bytes: Option<Bytes>,
}

impl Matrix {
    /// Arrays without any of the optional fields.
    pub const fn new(arrays: u64, rows: u64, columns: u64, kind: MatrixKind) -> Self {
        Self { arrays, rows, columns, kind, precision_rate: None, accumulator_bytes: None }
    }

    /// Products that a cell makes each cycle of elements of this width; `None` of a width that it does not know.
    pub fn rate(&self, bits: u64) -> Option<u64> {
        match &self.precision_rate {
            None => Some(1),
            Some(rates) => rates.iter().find(|(precision, _)| precision.bits() == bits).map(|(_, &rate)| rate),
        }
    }

    /// Multiply-accumulates a cycle when every multiplier is busy with elements of a precision.
    pub(super) fn peak_macs_per_cycle(&self, precision: Precision) -> u128 {
        let rate = self.rate(precision.bits()).unwrap_or(1);
        [self.arrays, self.rows, self.columns, rate].map(u128::from).into_iter().fold(1, u128::saturating_mul)
    }

    /// Whether each rate is in its range, names of one width have one rate, and the NPU's own precision has one.
    pub(super) fn check_rates(&self, own: Precision) -> Result<(), NpuError> {
        let error = |path: String, what| Err(NpuError { path, what });
        let path = "matrix.precision_rate";
        for (precision, &rate) in self.precision_rate.iter().flatten() {
            let name = precision.name();
            if !(1..=MOST_PRODUCTS).contains(&rate) {
                let what = format!("is {rate}; give a whole number from 1 to {MOST_PRODUCTS}");
                return error(format!("{path}.{name}"), what);
            }
            if let Some(other) = self
                .precision_rate
                .iter()
                .flatten()
                .find(|(other, other_rate)| other.bits() == precision.bits() && **other_rate != rate)
            {
                let what = format!("{name} and {} are of one width; give them one rate", other.0.name());
                return error(path.to_owned(), what);
            }
        }
        match self.rate(own.bits()) {
            Some(_) => Ok(()),
            None => {
                error(path.to_owned(), format!("has no rate for {}, the NPU's own precision; give one", own.name()))
            }
        }
    }

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
    #[serde(skip_serializing_if = "Option::is_none")]
    precision_rate: Option<BTreeMap<Precision, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accumulator_bytes: Option<Bytes>,
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
        let RawMatrix {
            kind,
            arrays,
            rows,
            columns,
            dataflow,
            double_buffered_weights,
            fill_rows_per_cycle,
            precision_rate,
            accumulator_bytes,
        } = raw;
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
        Ok(Self { arrays, rows, columns, kind, precision_rate, accumulator_bytes })
    }
}

impl From<Matrix> for RawMatrix {
    fn from(Matrix { arrays, rows, columns, kind, precision_rate, accumulator_bytes }: Matrix) -> Self {
        let (kind, dataflow, double, fill) = match kind {
            MatrixKind::AdderTree => (RawKind::AdderTree, None, None, None),
            MatrixKind::Systolic { dataflow, double_buffered_weights, fill_rows_per_cycle } => {
                (RawKind::Systolic, Some(dataflow), Some(double_buffered_weights), Some(fill_rows_per_cycle))
            }
        };
        Self {
            kind,
            arrays,
            rows,
            columns,
            dataflow,
            double_buffered_weights: double,
            fill_rows_per_cycle: fill,
            precision_rate,
            accumulator_bytes,
        }
    }
}
