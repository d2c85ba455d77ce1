//! What the analysis says of a layer: a side table of the model, and part of each layer in a file.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Cycles, Macs, Ratio};

/// Which engine a layer keeps busy the longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The compute engine: `compute_cycles ≥ dma_cycles`.
    Compute,
    /// The DRAM channel.
    Memory,
}

/// The figures of one layer on one NPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Multiply-accumulates; 0 of a vector layer.
    pub macs: Macs,
    /// Bytes of the weights that it touches.
    pub weight_bytes: Bytes,
    /// Bytes of the inputs and activations that it touches.
    pub input_bytes: Bytes,
    /// Bytes of what it writes.
    pub output_bytes: Bytes,
    /// Bytes that cross the DRAM channel for it: weights, and inputs and outputs of the model.
    pub dram_bytes: Bytes,
    /// One command over the whole layer, with its drain and `command_cycles`.
    pub compute_cycles: Cycles,
    /// One transfer of `dram_bytes`.
    pub dma_cycles: Cycles,
    /// Operations (2 a MAC; lane operations of a vector layer) per byte of `dram_bytes`; `None` where there are none.
    pub arithmetic_intensity: Option<Ratio>,
    /// The longer of the two.
    pub bound: Bound,
}
