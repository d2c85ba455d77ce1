//! Rule 7, on chip: whatever a command reads is surely there before it starts.

use super::facts::{Content, Facts};
use super::geometry::uncovered;
use super::violation::Violation;
use super::writes::Written;
use crate::schedule::{BufferId, Command, CommandId, Direction, Tile};

pub(super) fn check(facts: &Facts<'_>, written: &Written, found: &mut Vec<Violation>) {
    for (id, command) in facts.schedule.commands.iter_with_ids() {
        match command {
            Command::Compute(tile) => check_tile(facts, written, id, tile, found),
            Command::Dma(transfer) => {
                for &buffer in &transfer.buffers {
                    match transfer.op {
                        Direction::Load => check_width(facts, id, buffer, found),
                        Direction::Store => check_whole(facts, written, id, buffer, found),
                    }
                }
            }
        }
    }
}

/// Rules 7.1 and 7.4: what a tile reads are its operands, save for partial sums, and they hold all that it needs.
fn check_tile(facts: &Facts<'_>, written: &Written, id: CommandId, tile: &Tile, found: &mut Vec<Violation>) {
    let layer = facts.layer(tile);
    let operands: Vec<Content> = layer.reads.iter().map(|read| facts.operand(tile, read)).collect();
    let is_sum = |buffer| written.adds_to[id].iter().any(|&before| facts.tile(before).writes.contains(buffer));
    let inputs: Vec<BufferId> = tile.reads.iter().filter(|buffer| !is_sum(buffer)).copied().collect();
    for &buffer in &inputs {
        if operands.contains(&facts.content(buffer)) {
            check_whole(facts, written, id, buffer, found);
        } else {
            found.push(Violation::NotAnOperand { command: facts.named(id), buffer: facts.named_buffer(buffer) });
        }
    }
    for (read, &content) in layer.reads.iter().zip(&operands) {
        let Some(need) = facts.touched(tile, read) else { continue };
        if let Some(part) = uncovered(&need, &facts.parts_of(content, &inputs)).into_iter().next() {
            let (command, tensor) = (facts.named(id), facts.named_tensor(content));
            found.push(Violation::OperandNotCovered { command, tensor, part });
        }
    }
}

/// Rules 7.2 and 7.3: a buffer is in its tensor's width, and surely whole before a command.
fn check_whole(facts: &Facts<'_>, written: &Written, id: CommandId, buffer: BufferId, found: &mut Vec<Violation>) {
    check_width(facts, id, buffer, found);
    match written.whole_after[buffer] {
        None => found.push(Violation::NeverWhole { command: facts.named(id), buffer: facts.named_buffer(buffer) }),
        Some(writer) if !facts.order.is_sure(writer, id) => {
            let (command, writer) = (facts.named(id), facts.named(writer));
            found.push(Violation::NotSurelyWhole { command, buffer: facts.named_buffer(buffer), writer });
        }
        Some(_) => {}
    }
}

fn check_width(facts: &Facts<'_>, id: CommandId, buffer: BufferId, found: &mut Vec<Violation>) {
    let bits = facts.tensor(facts.content(buffer)).element_bits;
    let file = facts.schedule.buffers[buffer].element_bits;
    if bits != file {
        let (command, buffer) = (facts.named(id), facts.named_buffer(buffer));
        found.push(Violation::WrongWidth { command, buffer, bits, file });
    }
}
