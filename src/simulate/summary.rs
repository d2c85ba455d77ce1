//! Rule 9: what the stream comes to, and whether the file's summary says so.

use super::Simulation;
use super::replay::Replay;
use super::violation::Violation;
use crate::schedule::{Command, CommandId, Direction, IdVec, ModelId, Schedule, Summary};
use crate::units::{Cycles, Ratio};

/// The figures of a run.
pub(super) fn simulation(schedule: &Schedule, Replay { start, done, started: _ }: Replay) -> Simulation {
    let cycles = done.iter().copied().max().unwrap_or_default();
    let busy = |is_its: fn(&Command) -> bool| {
        schedule.commands.iter().filter(|command| is_its(command)).map(|command| command.timing().cycles).sum()
    };
    let compute_busy: Cycles = busy(|command| matches!(command, Command::Compute(_)));
    let dma_busy: Cycles = busy(|command| matches!(command, Command::Dma(_)));
    Simulation {
        cycles,
        compute_busy,
        dma_busy,
        compute_utilization: Ratio::of(compute_busy.get(), cycles.get()),
        dma_utilization: Ratio::of(dma_busy.get(), cycles.get()),
        finish: finish(schedule, &done),
        start,
        done,
    }
}

/// When each request's last compute command or store is done.
fn finish(schedule: &Schedule, done: &IdVec<CommandId, Cycles>) -> IdVec<ModelId, Vec<Cycles>> {
    let mut finish: IdVec<ModelId, Vec<Cycles>> =
        schedule.models.iter().map(|model| vec![Cycles::ZERO; model.requests as usize]).collect();
    let mut note = |id, model: ModelId, request: u32| {
        let last = &mut finish[model][request as usize];
        *last = done[id].max(*last);
    };
    for (id, command) in schedule.commands.iter_with_ids() {
        match command {
            Command::Compute(tile) => note(id, tile.model, tile.request),
            Command::Dma(transfer) => match transfer.op {
                Direction::Load => {}
                Direction::Store => {
                    for buffer in transfer.buffers.iter().map(|&buffer| &schedule.buffers[buffer]) {
                        buffer.request.into_iter().for_each(|request| note(id, buffer.model, request));
                    }
                }
            },
        }
    }
    finish
}

pub(super) fn check(summary: &Summary, simulation: &Simulation, found: &mut Vec<Violation>) {
    let figures = [
        ("cycles", simulation.cycles, summary.cycles),
        ("compute_busy_cycles", simulation.compute_busy, summary.compute_busy_cycles),
        ("dma_busy_cycles", simulation.dma_busy, summary.dma_busy_cycles),
    ];
    for (field, cycles, file) in figures {
        if cycles != file {
            found.push(Violation::WrongSummary { field, cycles, file });
        }
    }
    for ((model, ours), theirs) in simulation.finish.iter_with_ids().zip(&summary.finish) {
        for (request, (&cycles, &file)) in ours.iter().zip(theirs).enumerate() {
            if cycles != file {
                found.push(Violation::WrongFinish { model, request, cycles, file });
            }
        }
    }
    check_bounds(summary, simulation.cycles, found);
    check_ratios(summary, simulation, found);
}

/// Rule 9.3.
fn check_bounds(summary: &Summary, cycles: Cycles, found: &mut Vec<Violation>) {
    let floor = ("floor_cycles", summary.floor_cycles);
    let bound = ("bound_cycles", summary.bound_cycles);
    let pairs = [(floor, bound), (bound, ("cycles", cycles)), (floor, ("serial_cycles", summary.serial_cycles))];
    for ((smaller, small), (larger, large)) in pairs {
        if small > large {
            found.push(Violation::BoundsOutOfOrder { smaller, larger });
        }
    }
}

/// Rule 9.4.
fn check_ratios(summary: &Summary, simulation: &Simulation, found: &mut Vec<Violation>) {
    let cycles = simulation.cycles;
    let beyond_bound = cycles.saturating_sub(summary.bound_cycles);
    let ratios = [
        ("optimality_gap", summary.optimality_gap, beyond_bound, summary.bound_cycles),
        ("speedup", summary.speedup, summary.serial_cycles, cycles),
        ("compute_utilization", summary.compute_utilization, simulation.compute_busy, cycles),
        ("dma_utilization", summary.dma_utilization, simulation.dma_busy, cycles),
    ];
    for (field, file, part, whole) in ratios {
        let (part, whole) = (part.get(), whole.get());
        if whole != 0 && !file.is_some_and(|file| is_rounded(file, part, whole)) {
            found.push(Violation::WrongRatio { field, part, whole });
        }
    }
}

/// Whether a ratio is `part / whole` to six digits, be they decimals or of the number: |r − p/w| ≤ 10⁻⁶ + 5·10⁻⁶·p/w.
fn is_rounded(ratio: Ratio, part: u64, whole: u64) -> bool {
    let (part, whole) = (u128::from(part), u128::from(whole));
    (u128::from(ratio.millionths()) * whole).abs_diff(part * 1_000_000) <= whole + 5 * part
}
