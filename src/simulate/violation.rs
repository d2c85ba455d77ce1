//! What can be wrong with a schedule: one variant for each rule, numbered as in the list of [`simulate`](super).

use std::fmt;

use crate::schedule::{BufferId, CommandId, LayerId, ModelId, NdBox, TensorId};
use crate::units::{Bytes, Cycles};

/// An id and what it stands for; prints as `buf3 (w of bert)` or `cmd7 (load)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<I> {
    /// Where it stands in the file.
    pub id: I,
    /// Its name; of a command its layer's or its direction, of a buffer its tensor's.
    pub name: String,
}

impl<I: fmt::Display> fmt::Display for Named<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.name)
    }
}

/// A fault of a schedule. It prints as a sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the sentence names")]
pub enum Violation {
    /// Rule 1.1.
    #[error("the file is of format '{format}' version {version}, which nobody here knows")]
    Format { format: String, version: u32 },
    /// Rule 1.2.
    #[error("npu.{path}: {what}")]
    Npu { path: String, what: String },
    /// Rule 1.3.
    #[error("{place} names {id}, which does not exist")]
    NoSuch { place: String, id: String },
    /// Rule 1.3.
    #[error("{command} waits for itself")]
    WaitsForItself { command: CommandId },
    /// Rule 1.3.
    #[error("{place} names {id} twice in one list")]
    Repeated { place: String, id: String },
    /// Rule 1.4.
    #[error("{place}: {what} is out of range")]
    OutOfRange { place: String, what: &'static str },
    /// Rule 1.5.
    #[error("{place}: box {part} is empty somewhere, or not inside {sizes:?}")]
    NotInside { place: String, part: NdBox, sizes: Vec<u64> },
    /// Rule 1.5.
    #[error("{layer}: its access of {tensor} has {indices} indices for {rank} dimensions")]
    AccessRank { layer: Named<LayerId>, tensor: TensorId, indices: usize, rank: usize },
    /// Rule 1.6.
    #[error("{layer} writes nothing, and is not measured")]
    WritesNothing { layer: Named<LayerId> },
    /// Rule 1.6.
    #[error("{layer} writes {tensor}, which is a weight or an input")]
    WritesConstant { layer: Named<LayerId>, tensor: TensorId },
    /// Rule 1.7.
    #[error("{buffer}: weights belong to no request and all else to one")]
    WrongRequest { buffer: BufferId },
    /// Rule 1.8.
    #[error("{layer}: its bound is not what its compute_cycles and dma_cycles say")]
    WrongBound { layer: Named<LayerId> },
    /// Rule 1.9.
    #[error("summary.finish does not have one entry for each request of each model")]
    FinishShape,
    /// Rule 1.10.
    #[error("the models' requests need at least {needed} {what}, and the file has {have}")]
    TooFew { what: &'static str, needed: u128, have: usize },
    /// Rule 1.11.
    #[error("{layer} multiplies elements of {bits} bits, which npu.matrix.precision_rate does not know")]
    UnknownPrecision { layer: Named<LayerId>, bits: u64 },

    /// Rule 2.1.
    #[error("deadlock: {} can never start", list(.commands))]
    Deadlock { commands: Vec<CommandId> },
    /// Rule 2.2.
    #[error("{command} runs from {start} to {done}; the file says from {file_start} to {file_done}",
        start = start.0, done = done.0, file_start = file_start.0, file_done = file_done.0)]
    WrongTimes { command: Named<CommandId>, start: Cycles, done: Cycles, file_start: Cycles, file_done: Cycles },

    /// Rule 3.1.
    #[error("{buffer} ends beyond the {sram} of SRAM")]
    OutsideSram { buffer: Named<BufferId>, sram: Bytes },
    /// Rule 3.1.
    #[error("{buffer} begins at {address}, which is no multiple of {alignment}")]
    Misaligned { buffer: Named<BufferId>, address: u64, alignment: Bytes },
    /// Rule 3.2.
    #[error("{buffer}: its box takes {bytes} B; the file says {file}")]
    WrongBufferBytes { buffer: Named<BufferId>, bytes: u128, file: Bytes },
    /// Rule 3.3.
    #[error("{buffer} is filled by load {load} and also by {other}")]
    FilledTwice { buffer: Named<BufferId>, load: CommandId, other: CommandId },

    /// Rule 4.1.
    #[error("{command}: its buffers have {bytes} B; the file says {file}")]
    WrongTransferBytes { command: Named<CommandId>, bytes: u128, file: Bytes },
    /// Rules 4.2 and 4.3.
    #[error("{command} takes {cycles} cycles; the file says {file}")]
    WrongCycles { command: Named<CommandId>, cycles: u128, file: Cycles },
    /// Rule 4.4.
    #[error("{command} has another op than its layer, or ought to be measured just where compute_cycles are given")]
    WrongOp { command: Named<CommandId> },
    /// Rule 4.5.
    #[error("{command}: its share by volume is {floor} cycles or one more; the file says {file}")]
    WrongShare { command: Named<CommandId>, floor: u128, file: Cycles },
    /// Rule 4.5.
    #[error("{layer}, request {request}: its tiles sum to {sum} cycles, not to its {whole}")]
    WrongShareSum { layer: Named<LayerId>, request: u32, sum: u128, whole: Cycles },
    /// Rule 4.6.
    #[error("{command} adds up {bytes} B of sums; the accumulators hold {accumulators}")]
    AccumulatorsFull { command: Named<CommandId>, bytes: u128, accumulators: Bytes },

    /// Rule 5.1.
    #[error("{first} and {second} compute the same iterations")]
    ComputedTwice { first: Named<CommandId>, second: Named<CommandId> },
    /// Rule 5.1.
    #[error("{layer}, request {request}: {computed} of its {iterations} iterations are computed")]
    NotComputed { layer: Named<LayerId>, request: u32, computed: u128, iterations: u64 },
    /// Rule 5.2.
    #[error("{later} runs after {earlier}, against the table's order of layers that write nothing")]
    OutOfTableOrder { earlier: Named<CommandId>, later: Named<CommandId> },
    /// Rule 5.3.
    #[error("{tensor}, request {request}: {part} is never stored")]
    OutputNotStored { tensor: Named<TensorId>, request: u32, part: NdBox },

    /// Rule 6.1.
    #[error("{command} writes {buffer}, which does not hold its layer's output")]
    NotItsOutput { command: Named<CommandId>, buffer: Named<BufferId> },
    /// Rule 6.2.
    #[error("{command} leaves gaps in what it writes, {part}")]
    WriteGaps { command: Named<CommandId>, part: NdBox },
    /// Rule 6.2.
    #[error("{command}: the buffers that it writes do not hold {part}")]
    WriteNotCovered { command: Named<CommandId>, part: NdBox },
    /// Rule 6.3.
    #[error("{first} and {second} are of two layers and write the same elements, {part}")]
    TwoLayers { first: Named<CommandId>, second: Named<CommandId>, part: NdBox },
    /// Rule 6.4.
    #[error("{command} does not read the partial sums {part} from where {before} wrote them")]
    PartialSumsNotRead { command: Named<CommandId>, before: Named<CommandId>, part: NdBox },
    /// Rule 6.5.
    #[error("{command} writes {buffer} with {file} bits an element; {kind} sums have {bits}")]
    WrongSumWidth { command: Named<CommandId>, buffer: Named<BufferId>, kind: Sums, bits: u64, file: u64 },

    /// Rule 7.1.
    #[error("{command} reads {buffer}, which holds no operand of its layer")]
    NotAnOperand { command: Named<CommandId>, buffer: Named<BufferId> },
    /// Rule 7.2.
    #[error("{command} needs {buffer}, which is never wholly written")]
    NeverWhole { command: Named<CommandId>, buffer: Named<BufferId> },
    /// Rule 7.2.
    #[error("{command} needs {buffer} and may start before {writer} is done, which makes it whole")]
    NotSurelyWhole { command: Named<CommandId>, buffer: Named<BufferId>, writer: Named<CommandId> },
    /// Rule 7.3.
    #[error("{command} needs {buffer}, whose elements have {file} bits and not their tensor's {bits}")]
    WrongWidth { command: Named<CommandId>, buffer: Named<BufferId>, bits: u64, file: u64 },
    /// Rule 7.4.
    #[error("{command} needs {part} of {tensor}, which the buffers that it reads do not hold")]
    OperandNotCovered { command: Named<CommandId>, tensor: Named<TensorId>, part: NdBox },
    /// Rule 7.5.
    #[error("{command} loads {buffer}, and {part} is not surely stored before")]
    LoadNotStored { command: Named<CommandId>, buffer: Named<BufferId>, part: NdBox },

    /// Rule 8.1.
    #[error("{first} and {second} use {buffer}, one of them writes it, and nothing orders them")]
    BufferRace { buffer: Named<BufferId>, first: Named<CommandId>, second: Named<CommandId> },
    /// Rule 8.2.
    #[error(
        "{first_buffer} and {second_buffer} share bytes; {first} and {second} use them neither in order nor in place"
    )]
    SramRace {
        first_buffer: Named<BufferId>,
        second_buffer: Named<BufferId>,
        first: Named<CommandId>,
        second: Named<CommandId>,
    },
    /// Rule 8.3.
    #[error("{load} and {store} touch the same bytes of {tensor} in DRAM, and nothing orders them")]
    DramRace { load: Named<CommandId>, store: Named<CommandId>, tensor: Named<TensorId> },

    /// Rule 9.1.
    #[error("summary.{field} is {cycles}; the file says {file}", cycles = cycles.0, file = file.0)]
    WrongSummary { field: &'static str, cycles: Cycles, file: Cycles },
    /// Rule 9.2.
    #[error("summary.finish of {model}, request {request} is {cycles}; the file says {file}",
        cycles = cycles.0, file = file.0)]
    WrongFinish { model: ModelId, request: usize, cycles: Cycles, file: Cycles },
    /// Rule 9.3.
    #[error("summary.{smaller} is greater than {larger}")]
    BoundsOutOfOrder { smaller: &'static str, larger: &'static str },
    /// Rule 9.4.
    #[error("summary.{field} is not {part}/{whole} to 6 digits")]
    WrongRatio { field: &'static str, part: u64, whole: u64 },
}

/// What a tile leaves in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// Something is still to be added.
    Partial,
    /// All is added up.
    Last,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partial => "partial",
            Self::Last => "final",
        })
    }
}

fn list(commands: &[CommandId]) -> String {
    commands.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
