//! The schedule file: its types, and how it is read and written.
//!
//! A file is self-contained: the NPU, the models with their layers, every buffer and command. Commands stand in the
//! order in which each engine runs them; all ids are indices. Same schedule, same bytes.

mod file;

use serde::{Deserialize, Serialize};

use crate::ir::entity;
pub use crate::ir::{
    Access, Affine, Bound, Dim, DimId, Figures, IdVec, Layer, LayerId, NdBox, Op, Operand, Role, Span, Tensor,
    TensorId, TensorKind,
};
pub use crate::npu::Npu;
use crate::units::{Bytes, Cycles, Ratio};
pub use file::{ReadError, write_models};

entity! {
    /// A model of a schedule.
    ModelId, "model"
}
entity! {
    /// A buffer of a schedule.
    BufferId, "buf"
}
entity! {
    /// A command of a schedule.
    CommandId, "cmd"
}

/// The text that `format` has in every file.
pub const FORMAT: &str = "layerweaver-schedule";
/// The version that this crate reads and writes.
pub const VERSION: u32 = 1;

/// A schedule file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The machine that it is for.
    pub npu: Npu,
    /// What runs on it.
    pub models: IdVec<ModelId, ScheduledModel>,
    /// Every stay of data in the scratchpad.
    pub buffers: IdVec<BufferId, Buffer>,
    /// The stream.
    pub commands: IdVec<CommandId, Command>,
    /// What it comes to.
    pub summary: Summary,
}

/// A model, how often it runs, and the figures of its layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledModel {
    /// The file's name without its ending.
    pub name: String,
    /// SHA-256 over the graph.
    pub fingerprint: String,
    /// Inferences in this stream.
    pub requests: u32,
    /// All its tensors.
    pub tensors: IdVec<TensorId, Tensor>,
    /// All its layers.
    pub layers: IdVec<LayerId, LayerRow>,
}

/// A layer with its figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRow {
    /// What it does.
    #[serde(flatten)]
    pub layer: Layer,
    /// What it costs.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One stay of one box of one tensor in the scratchpad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Where it begins.
    pub address: u64,
    /// Its box's elements × `element_bits`, rounded up.
    pub bytes: Bytes,
    /// Whose it is.
    pub model: ModelId,
    /// Which inference's; `None` of weights.
    pub request: Option<u32>,
    /// Of which tensor.
    pub tensor: TensorId,
    /// Which part of it.
    #[serde(rename = "box")]
    pub part: NdBox,
    /// Its tensor's, save for partial sums.
    pub element_bits: u64,
}

/// A command of one of the two engines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "engine", rename_all = "lowercase")]
pub enum Command {
    /// A transfer over the DRAM channel.
    Dma(Transfer),
    /// A tile on the arrays or the vector unit.
    Compute(Tile),
}

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From DRAM to the scratchpad.
    Load,
    /// From the scratchpad to DRAM.
    Store,
}

/// A transfer of whole buffers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Load or store.
    pub op: Direction,
    /// What it fills or stores.
    pub buffers: Vec<BufferId>,
    /// The sum of its buffers' bytes.
    pub bytes: Bytes,
    /// When it runs.
    #[serde(flatten)]
    pub timing: Timing,
}

/// A box of a layer's iterations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tile {
    /// The layer's op, or measured.
    pub op: Op,
    /// Whose layer.
    pub model: ModelId,
    /// Which inference.
    pub request: u32,
    /// Which layer.
    pub layer: LayerId,
    /// Which of its iterations.
    #[serde(rename = "box")]
    pub part: NdBox,
    /// The buffers of its operands and partial sums.
    pub reads: Vec<BufferId>,
    /// The buffers of its output.
    pub writes: Vec<BufferId>,
    /// When it runs.
    #[serde(flatten)]
    pub timing: Timing,
}

/// When a command runs, and after what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How long it occupies its engine.
    pub cycles: Cycles,
    /// The commands that must be done before it starts.
    pub waits: Vec<CommandId>,
    /// When it starts, if every command takes as long as predicted.
    pub start: Cycles,
    /// When what it makes can be used.
    pub done: Cycles,
}

impl Command {
    /// When it runs.
    pub const fn timing(&self) -> &Timing {
        match self {
            Self::Dma(transfer) => &transfer.timing,
            Self::Compute(tile) => &tile.timing,
        }
    }
}

/// What a schedule comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Which policy made it.
    pub policy: String,
    /// The last `done`.
    pub cycles: Cycles,
    /// A proven lower bound for these tiles, spills and layer order, under any order of commands.
    pub bound_cycles: Cycles,
    /// A proven lower bound under any tiling, spilling and order.
    pub floor_cycles: Cycles,
    /// The shortest serial stream of the same work.
    pub serial_cycles: Cycles,
    /// `cycles / bound_cycles − 1`.
    pub optimality_gap: Option<Ratio>,
    /// `serial_cycles / cycles`.
    pub speedup: Option<Ratio>,
    /// Cycles in which the compute engine is occupied.
    pub compute_busy_cycles: Cycles,
    /// Cycles in which the DRAM channel is occupied.
    pub dma_busy_cycles: Cycles,
    /// `compute_busy_cycles / cycles`.
    pub compute_utilization: Option<Ratio>,
    /// `dma_busy_cycles / cycles`.
    pub dma_utilization: Option<Ratio>,
    /// The last `done` of each request's compute commands and stores, by model.
    pub finish: IdVec<ModelId, Vec<Cycles>>,
}
