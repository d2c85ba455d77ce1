//! Rule 3: buffers lie in the scratchpad, have the size of their box, and each is one stay.

use super::facts::Facts;
use super::geometry::volume;
use super::violation::Violation;
use crate::schedule::BufferId;

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    for id in facts.schedule.buffers.ids() {
        check_place(facts, id, found);
        check_fills(facts, id, found);
    }
}

/// Rules 3.1 and 3.2.
fn check_place(facts: &Facts<'_>, id: BufferId, found: &mut Vec<Violation>) {
    let sram = &facts.schedule.npu.sram;
    let buffer = &facts.schedule.buffers[id];
    let (address, file) = (buffer.address, buffer.bytes);
    if u128::from(address) + u128::from(file.get()) > u128::from(sram.bytes.get()) {
        found.push(Violation::OutsideSram { buffer: facts.named_buffer(id), sram: sram.bytes });
    }
    let alignment = sram.alignment_bytes;
    if !address.is_multiple_of(alignment.get()) {
        found.push(Violation::Misaligned { buffer: facts.named_buffer(id), address, alignment });
    }
    let bytes = (u128::from(volume(&buffer.part)) * u128::from(buffer.element_bits)).div_ceil(8);
    if u128::from(file.get()) != bytes {
        found.push(Violation::WrongBufferBytes { buffer: facts.named_buffer(id), bytes, file });
    }
}

/// Rule 3.3.
fn check_fills(facts: &Facts<'_>, id: BufferId, found: &mut Vec<Violation>) {
    let Some(load) = facts.fills(id).find(|&fill| facts.is_transfer(fill)) else { return };
    if let Some(other) = facts.fills(id).find(|&fill| fill != load) {
        found.push(Violation::FilledTwice { buffer: facts.named_buffer(id), load, other });
    }
}
