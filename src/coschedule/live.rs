//! Where each slot of a job is. Copies of a machine share what neither has changed since.

use std::rc::Rc;

use super::chain::{Slot, SlotId};
use crate::ir::IdVec;
use crate::units::Cycles;

/// Slots that are copied together.
const CHUNK: usize = 32;

/// A slot's newest stay.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Live {
    pub(super) address: u64,
    /// Of which request it is: the next one's may begin before this one's is stored.
    pub(super) request: u32,
    /// When its store is done, once that is known.
    pub(super) stored: Cycles,
    /// Whether a store is still to come.
    pub(super) is_owed: bool,
}

/// Those of all slots of a job.
#[derive(Clone, Debug)]
pub(super) struct Lives(Vec<Rc<[Live; CHUNK]>>);

impl Lives {
    pub(super) fn new(slots: &IdVec<SlotId, Slot>) -> Self {
        Self(vec![Rc::default(); slots.len().div_ceil(CHUNK)])
    }

    pub(super) fn get(&self, slot: SlotId) -> Live {
        self.0[slot.index() / CHUNK][slot.index() % CHUNK]
    }

    pub(super) fn set(&mut self, slot: SlotId, live: Live) {
        Rc::make_mut(&mut self.0[slot.index() / CHUNK])[slot.index() % CHUNK] = live;
    }
}
