//! The project's checker of schedule files: what a stream comes to, and everything that is wrong with it.
//!
//! It sees a file and nothing else: neither the policy that made it, nor the costs that were predicted. Durations are
//! derived anew, fold by fold and burst by burst; boxes with geometry of this room's own; order from waits and queues.
//! So a mistake of the builder is not repeated here.
//!
//! # The rules
//!
//! One [`Violation`] each, or a few. *i → j* says that command *i* is surely done before *j* starts, under any timing.
//! *A(t)* is the part of a tensor that tile *t* touches by access *A*, clipped to the tensor. ∪ and ∩ are of boxes.
//!
//! 1. **Structure.** Where it is broken, no other rule is looked at.
//!    1. Format and version are known.
//!    2. The NPU is one that `npu` would read.
//!    3. Every id exists, no list names one twice, and no command waits for itself.
//!    4. Sizes, strides, widths and sums are in a range in which nothing overflows, and not zero where none can be.
//!    5. A box has its tensor's or layer's rank, no empty side, and lies inside. An access has its tensor's rank.
//!    6. Only a measured layer writes nothing, and none writes a weight or an input.
//!    7. A buffer has a request just if it does not hold weights.
//!    8. `bound` is compute just if `compute_cycles ≥ dma_cycles`.
//!    9. `finish` has an entry for each request of each model.
//!    10. The file has at least one command for each layer and request, and one stored buffer for each output.
//!    11. A product's wider operand has a width that the NPU multiplies.
//! 2. **Timing.**
//!    1. No command waits for ever.
//!    2. `start = max(free(engine), max done(waits))`; `done = start + cycles`, of a transfer `+ latency_cycles`.
//! 3. **Buffers.**
//!    1. `address + bytes ≤ sram.bytes`, and the alignment divides `address`.
//!    2. `bytes = ⌈|box| · element_bits / 8⌉`.
//!    3. A buffer is filled by one load, or by compute commands.
//! 4. **Costs.**
//!    1. A transfer's bytes are the sum of its buffers'.
//!    2. Its cycles are those of its bursts.
//!    3. A tile's cycles are those of its folds or lane operations, with the drain where it is its layer's last.
//!    4. Its op is its layer's, but `measured` where the layer's `compute_cycles` are not those of its whole box.
//!    5. A measured tile *t* takes *⌊c · |t| / |layer|⌋* cycles or one more, and all of them *c* together.
//!    6. The sums of a product whose k a tile cuts, or folds, fit in the accumulators, `m · n · 4` bytes.
//! 5. **Completeness.**
//!    1. The tiles of a layer in a request are disjoint, and their volumes sum to all its iterations.
//!    2. Layers that write nothing run in the table's order.
//!    3. Every output is stored in full.
//! 6. **Writes.** *W* is a layer's write access; tiles write in queue order.
//!    1. A tile writes buffers of its layer's output only.
//!    2. *W(t)* has no gaps, and lies in the ∪ of the buffers that *t* writes.
//!    3. *W(t) ∩ W(u) = ∅* where *t* and *u* are of two layers.
//!    4. Each element of *W(t)* that was written before was last written to a buffer that *t* reads, but where *W* is
//!       `null`.
//!    5. Elements that will be written again have `max(32, bits)` bits, others their tensor's.
//! 7. **Flow.** A buffer is whole after its load, or after the last tile that completes an element of it; each element
//!    must be completed in this buffer.
//!    1. What a tile reads holds an operand of its layer, or partial sums.
//!    2. Buffers that are read or stored, partial sums aside, are whole after some *w → i*.
//!    3. They, and those that are loaded, are in their tensor's width.
//!    4. For each read access *R*, *R(t)* lies in the ∪ of the buffers of that tensor that *t* reads.
//!    5. What is loaded of an activation or output lies in the ∪ of what stores *s → i* stored.
//! 8. **Races.**
//!    1. If *i* and *j* use a buffer and one writes it, *i → j* or *j → i*.
//!    2. If buffers *a* and *b* share bytes, *i → j* for all *i* that use *a* and *j* that use *b*, or the other way
//!       round; or *b* is written over *a* in place: same address, box and width, *i → j* wherever what they touch
//!       meets, and *i = j* only where it reads *a* by the access by which it writes *b*.
//!    3. If a load and a store touch the same bytes in DRAM, *i → j* or *j → i*.
//! 9. **Summary.**
//!    1. `cycles` is the last `done`; busy cycles are sums over an engine's commands.
//!    2. `finish` is the last `done` of a request's compute commands and stores.
//!    3. `floor ≤ bound ≤ cycles` and `floor ≤ serial`.
//!    4. Ratios are right to six digits.

mod structure;

mod replay;

mod clock;

mod facts;

mod buffers;

mod costs;

mod completeness;

mod writes;

mod flow;

mod dram;

mod races;

mod summary;

mod duration;

mod geometry;

mod index;

mod violation;

use crate::schedule::{CommandId, IdVec, ModelId, Schedule};
use crate::units::{Cycles, Ratio};

use facts::Facts;
pub use violation::{Named, Sums, Violation};

/// What a sound schedule comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// When the last command is done.
    pub cycles: Cycles,
    /// How long the compute engine is occupied.
    pub compute_busy: Cycles,
    /// How long the DRAM channel is occupied.
    pub dma_busy: Cycles,
    /// `compute_busy / cycles`; `None` of an empty stream.
    pub compute_utilization: Option<Ratio>,
    /// `dma_busy / cycles`; `None` of an empty stream.
    pub dma_utilization: Option<Ratio>,
    /// When each request's last compute command or store is done, by model.
    pub finish: IdVec<ModelId, Vec<Cycles>>,
    /// When each command starts.
    pub start: IdVec<CommandId, Cycles>,
    /// When what each command makes can be used.
    pub done: IdVec<CommandId, Cycles>,
}

/// Runs a schedule, and checks it against every rule.
///
/// # Errors
///
/// All violations that were found, in the order of the rules and of the file: where the structure is broken those of
/// the structure alone, and a deadlock alone, for nothing can be said of what never runs.
pub fn simulate(schedule: &Schedule) -> Result<Simulation, Vec<Violation>> {
    structure::check(schedule)?;
    let replay = replay::replay(schedule).map_err(|commands| vec![Violation::Deadlock { commands }])?;
    let facts = Facts::new(schedule, &replay);
    let mut found = Vec::new();
    replay::check_times(&facts, &replay, &mut found);
    buffers::check(&facts, &mut found);
    costs::check(&facts, &mut found);
    completeness::check(&facts, &mut found);
    let written = writes::check(&facts, &mut found);
    flow::check(&facts, &written, &mut found);
    dram::check(&facts, &mut found);
    races::check(&facts, &replay.started, &mut found);
    let simulation = summary::simulation(schedule, replay);
    summary::check(&schedule.summary, &simulation, &mut found);
    if found.is_empty() { Ok(simulation) } else { Err(found) }
}
