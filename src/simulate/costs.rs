//! Rule 4: every command moves what its buffers hold, and takes as long as the machine says.

use super::duration::{Durations, summed_bytes};
use super::facts::{Facts, Run};
use super::geometry::volume;
use super::violation::Violation;
use crate::schedule::{Command, CommandId, Layer, LayerRow, Op};

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let mut durations = Durations::new(&facts.schedule.npu);
    check_transfers(facts, &durations, found);
    for (&run, tiles) in &facts.tiles {
        check_tiles(facts, run, tiles, &mut durations, found);
    }
}

/// Rules 4.1 and 4.2.
fn check_transfers(facts: &Facts<'_>, durations: &Durations<'_>, found: &mut Vec<Violation>) {
    for (id, command) in facts.schedule.commands.iter_with_ids() {
        let Command::Dma(transfer) = command else { continue };
        let held = transfer.buffers.iter().map(|&buffer| u128::from(facts.schedule.buffers[buffer].bytes.get()));
        let bytes = held.sum();
        if u128::from(transfer.bytes.get()) != bytes {
            found.push(Violation::WrongTransferBytes { command: facts.named(id), bytes, file: transfer.bytes });
        }
        check_cycles(facts, id, durations.transfer(transfer.bytes.get()), found);
    }
}

fn check_cycles(facts: &Facts<'_>, id: CommandId, cycles: u128, found: &mut Vec<Violation>) {
    let file = facts.schedule.commands[id].timing().cycles;
    if u128::from(file.get()) != cycles {
        found.push(Violation::WrongCycles { command: facts.named(id), cycles, file });
    }
}

/// Rules 4.3 to 4.6, for the tiles of one layer in one request. A layer is measured where it says so, and where its
/// `compute_cycles` are not those of one command over all of it: then somebody gave them.
fn check_tiles(
    facts: &Facts<'_>,
    run: Run,
    tiles: &[CommandId],
    durations: &mut Durations<'_>,
    found: &mut Vec<Violation>,
) {
    let model = &facts.schedule.models[run.model];
    let row @ LayerRow { layer, figures } = &model.layers[run.layer];
    let given = u128::from(figures.compute_cycles.get());
    let is_measured = durations.tile(model, layer, &layer.whole(), true).is_none_or(|cycles| cycles != given);
    let op = if is_measured { Op::Measured } else { layer.op };
    for &id in tiles {
        let tile = facts.tile(id);
        if tile.op != op {
            found.push(Violation::WrongOp { command: facts.named(id) });
        } else if let Some(cycles) =
            durations.tile(model, layer, &tile.part, Some(&id) == tiles.last()).filter(|_| !is_measured)
        {
            check_cycles(facts, id, cycles, found);
        }
    }
    check_sums(facts, layer, tiles, found);
    if is_measured {
        check_shares(facts, run, row, tiles, found);
    }
}

/// Rule 4.6.
fn check_sums(facts: &Facts<'_>, layer: &Layer, tiles: &[CommandId], found: &mut Vec<Violation>) {
    let matrix = &facts.schedule.npu.matrix;
    let Some(accumulators) = matrix.accumulator_bytes else { return };
    for &id in tiles {
        let bytes = summed_bytes(matrix, layer, &facts.tile(id).part);
        if bytes > u128::from(accumulators.get()) {
            found.push(Violation::AccumulatorsFull { command: facts.named(id), bytes, accumulators });
        }
    }
}

/// Rule 4.5: by largest remainder each share is rounded down or up, and nothing is lost.
fn check_shares(facts: &Facts<'_>, run: Run, row: &LayerRow, tiles: &[CommandId], found: &mut Vec<Violation>) {
    let whole = row.figures.compute_cycles;
    let iterations = u128::from(volume(&row.layer.whole()));
    let mut sum = 0;
    for &id in tiles {
        let tile = facts.tile(id);
        let file = tile.timing.cycles;
        let cycles = u128::from(file.get());
        sum += cycles;
        let floor = u128::from(whole.get()) * u128::from(volume(&tile.part)) / iterations;
        if cycles != floor && cycles != floor + 1 {
            found.push(Violation::WrongShare { command: facts.named(id), floor, file });
        }
    }
    if sum != u128::from(whole.get()) {
        let layer = facts.named_layer(run);
        found.push(Violation::WrongShareSum { layer, request: run.request, sum, whole });
    }
}
