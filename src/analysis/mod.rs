//! What each layer of a model costs on an NPU, and how it may be cut into tiles.
//!
//! The results are side tables of the model: a `Layer` never changes.

#[cfg(test)]
mod exhaustive;
mod figures;
mod fit;
mod floor;
mod tiling;

pub use figures::with_traffic;
pub use fit::{Fit, Least, fit, least};
pub use tiling::Tiling;

use crate::cost;
use crate::ir::{Figures, IdVec, LayerId, Model, Op, TensorId};
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

/// Cycles that a user has given for a layer, instead of the modelled ones.
pub type Measured = IdVec<LayerId, Option<Cycles>>;

/// What crosses the DRAM channel at least for each layer: what it is the first to touch of weights, inputs and outputs.
pub type Once = IdVec<LayerId, Vec<(TensorId, Bytes)>>;

/// A model, analysed for an NPU.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The figures of each layer.
    pub figures: IdVec<LayerId, Figures>,
    /// Where a layer's cycles are given, those: its tiles share them by volume.
    pub measured: Measured,
    /// For each layer its candidate tilings, from one tile to many; each moves fewer bytes a tile than the one before.
    pub tilings: IdVec<LayerId, Vec<Tiling>>,
    /// For layers of packed groups a cut along k that takes fewer cycles than one tile, if there is one.
    pub packed: IdVec<LayerId, Option<Tiling>>,
    /// What no tiling can avoid in one request.
    pub floor: Floor,
    /// The layers' shares of `floor.dram`.
    pub once: Once,
}

/// What one request costs at least, under any tiling, spilling and order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The sum of all compute commands.
    pub compute: Cycles,
    /// What crosses the DRAM channel.
    pub dram: Bytes,
    /// The same, layer by layer.
    pub layers: Vec<LayerFloor>,
}

/// What a layer costs at least, under any tiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerFloor {
    /// The sum of its compute commands.
    pub compute: Cycles,
    /// Weights and inputs that it is the first layer of a request to read.
    pub loads: Bytes,
    /// What layers up to this one write and the next one reads.
    pub passed_on: Bytes,
}

/// Why a model cannot be analysed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnalysisError {
    /// Sums over its tiles could leave `u64`.
    #[error(
        "layer '{layer}', with those before it, takes more than 2^44 cycles on this NPU: one of the two is out of scale"
    )]
    TooLong {
        /// The layer's name.
        layer: String,
    },
    /// A measured layer without a measurement.
    #[error("layer '{layer}' is measured, but no compute_cycles are given for it")]
    NotMeasured {
        /// The layer's name.
        layer: String,
    },
    /// A product of a width that the NPU's cells do not multiply.
    #[error(
        "layer '{layer}' multiplies elements of {bits} bits, which matrix.precision_rate of NPU '{npu}' does not know; \
         give it their rate, or the model another --precision"
    )]
    UnknownPrecision {
        /// The layer's name.
        layer: String,
        /// Of the wider operand.
        bits: u64,
        /// The NPU's name.
        npu: String,
    },
    /// A product that cannot be cut small enough.
    #[error(
        "layer '{layer}' needs accumulators of {needs} even for its smallest tile, and matrix.accumulator_bytes of NPU \
         '{npu}' are {accumulators}; give it larger ones"
    )]
    NoAccumulators {
        /// The layer's name.
        layer: String,
        /// The sums of one fold's columns.
        needs: Bytes,
        /// What there is.
        accumulators: Bytes,
        /// The NPU's name.
        npu: String,
    },
}

/// Analyses a model whose every layer is costed by the machine model.
pub fn analyze(model: &Model, npu: &Npu) -> Result<Analysis, AnalysisError> {
    analyze_measured(model, npu, model.layers.iter().map(|_| None).collect())
}

/// Analyses a model of which a user has measured some layers.
pub fn analyze_measured(model: &Model, npu: &Npu, given: Measured) -> Result<Analysis, AnalysisError> {
    for layer in model.layers.iter().filter(|layer| layer.op == Op::Gemm) {
        let bits = cost::operand_bits(model, layer);
        if npu.matrix.rate(bits).is_none() {
            let (layer, npu) = (layer.name.clone(), npu.name.clone());
            return Err(AnalysisError::UnknownPrecision { layer, bits, npu });
        }
    }
    let mut measured = Measured::new();
    for (id, layer) in model.layers.iter_with_ids() {
        measured.push(match (layer.op, given[id]) {
            (Op::Measured, None) => return Err(AnalysisError::NotMeasured { layer: layer.name.clone() }),
            (Op::Measured, Some(cycles)) => Some(cycles),
            // Unchanged figures of a table are no measurement: the layer stays tileable at its true cost.
            (Op::Gemm | Op::Vector, given) => {
                given.filter(|&cycles| cycles != cost::compute_cycles(npu, model, layer, &layer.whole(), true))
            }
        });
    }
    let figures = figures::of_model(model, npu, &measured);
    let mut total = 0u128;
    for (layer, figures) in model.layers.iter().zip(&figures) {
        total += u128::from(figures.compute_cycles.get()) + u128::from(figures.dma_cycles.get());
        if total > 1 << 44 {
            return Err(AnalysisError::TooLong { layer: layer.name.clone() });
        }
    }
    let tilings = model.layers.iter_with_ids().map(|(id, layer)| {
        let accumulators = npu.matrix.accumulator_bytes.unwrap_or(Bytes::ZERO);
        let none = |needs| {
            let (layer, npu) = (layer.name.clone(), npu.name.clone());
            AnalysisError::NoAccumulators { layer, needs, accumulators, npu }
        };
        tiling::candidates(model, layer, npu, measured[id]).map_err(none)
    });
    let tilings = tilings.collect::<Result<_, _>>()?;
    let packed =
        model.layers.iter_with_ids().map(|(id, layer)| tiling::packed(model, layer, npu, measured[id])).collect();
    let once = floor::once(model);
    let floor = floor::of_request(model, npu, &measured, &once);
    Ok(Analysis { figures, measured, tilings, packed, floor, once })
}
