//! When each command runs, if all take as long as predicted.

use crate::npu::Npu;
use crate::schedule::{Command, CommandId, IdVec, Timing};
use crate::units::Cycles;

/// What a stream comes to.
pub(super) struct Times {
    /// The last `done`.
    pub(super) cycles: Cycles,
    pub(super) compute_busy: Cycles,
    pub(super) dma_busy: Cycles,
}

/// Sets `start` and `done` of all commands, which stand in an order in which none waits for a later one.
///
/// Formula: `start = max(free(engine), max done(waits))`; a transfer is done `latency_cycles` after it has left the
/// channel, a compute command at once.
pub(super) fn assign(npu: &Npu, commands: &mut IdVec<CommandId, Command>) -> Times {
    let latency = Cycles(npu.dram.latency_cycles);
    let mut times = Times { cycles: Cycles::ZERO, compute_busy: Cycles::ZERO, dma_busy: Cycles::ZERO };
    let (mut dma_free, mut compute_free) = (Cycles::ZERO, Cycles::ZERO);
    for id in commands.ids() {
        let waits = commands[id].timing().waits.iter();
        let ready = waits.map(|&wait| commands[wait].timing().done).max().unwrap_or_default();
        let (free, busy, latency, timing) = match &mut commands[id] {
            Command::Dma(transfer) => (&mut dma_free, &mut times.dma_busy, latency, &mut transfer.timing),
            Command::Compute(tile) => (&mut compute_free, &mut times.compute_busy, Cycles::ZERO, &mut tile.timing),
        };
        let Timing { cycles, waits: _, start, done } = timing;
        *start = ready.max(*free);
        *free = *start + *cycles;
        *done = *free + latency;
        *busy += *cycles;
        times.cycles = times.cycles.max(*done);
    }
    times
}
