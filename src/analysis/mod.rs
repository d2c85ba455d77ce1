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
pub use fit::{Fit, fit};
pub use tiling::Tiling;

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
    /// What no tiling can avoid in one request.
    pub floor: Floor,
    /// The layers' shares of `floor.dram`.
    pub once: Once,
}

/// What one request costs at least, under any tiling, spilling and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The sum of all compute commands.
    pub compute: Cycles,
    /// What crosses the DRAM channel.
    pub dram: Bytes,
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
}

/// Analyses a model whose every layer is costed by the machine model.
pub fn analyze(model: &Model, npu: &Npu) -> Result<Analysis, AnalysisError> {
    analyze_measured(model, npu, model.layers.iter().map(|_| None).collect())
}

/// Analyses a model of which a user has measured some layers.
pub fn analyze_measured(model: &Model, npu: &Npu, given: Measured) -> Result<Analysis, AnalysisError> {
    let mut measured = Measured::new();
    for (id, layer) in model.layers.iter_with_ids() {
        measured.push(match (layer.op, given[id]) {
            (Op::Measured, None) => return Err(AnalysisError::NotMeasured { layer: layer.name.clone() }),
            (Op::Measured, Some(cycles)) => Some(cycles),
            // Unchanged figures of a table are no measurement: the layer stays tileable at its true cost.
            (Op::Gemm | Op::Vector, given) => {
                given.filter(|&cycles| cycles != crate::cost::compute_cycles(npu, layer, &layer.whole(), true))
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
    let tilings =
        model.layers.ids().map(|id| tiling::candidates(model, &model.layers[id], npu, measured[id])).collect();
    let once = floor::once(model);
    let floor = floor::of_request(model, npu, &measured, &once);
    Ok(Analysis { figures, measured, tilings, floor, once })
}
