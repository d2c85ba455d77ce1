//! The result of coscheduling: the order of commands on each engine, and where each stay of data is.

use std::collections::VecDeque;

use super::chain::{Chain, Slot, SlotId};
use super::machine::Step;
use crate::ir::entity;
use crate::ir::{IdVec, LayerId, NdBox, Op, TensorId};
use crate::units::{Bytes, Cycles};

entity! {
    /// One stay of data in the scratchpad.
    StayId, "stay"
}

/// The commands of both engines in one sequence, in which each engine takes its own in order; a command comes after
/// all that it depends on.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Every stay, in the order in which space was given.
    pub stays: IdVec<StayId, Stay>,
    /// Every command.
    pub commands: Vec<Planned>,
}

/// One stay of one box of one tensor at an address.
#[derive(Clone, Debug)]
pub struct Stay {
    /// Where it begins.
    pub address: u64,
    /// How long it is.
    pub bytes: Bytes,
    /// Which of the jobs it belongs to.
    pub job: usize,
    /// Which request it belongs to.
    pub request: u32,
    /// Of which tensor.
    pub tensor: TensorId,
    /// Which part of it.
    pub part: NdBox,
    /// The tensor's, save for partial sums.
    pub element_bits: u64,
}

/// A command without its waits and times.
#[derive(Clone, Debug)]
pub enum Planned {
    /// From DRAM.
    Load(Transfer),
    /// To DRAM.
    Store(Transfer),
    /// On the compute engine.
    Tile(Tile),
}

/// Whole stays over the DRAM channel.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// What is moved.
    pub stays: Vec<StayId>,
    /// Their bytes together.
    pub bytes: Bytes,
    /// How long the channel is occupied.
    pub cycles: Cycles,
}

/// A box of a layer's iterations.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Whose layer.
    pub job: usize,
    /// Which request.
    pub request: u32,
    /// Which layer.
    pub layer: LayerId,
    /// Which of its iterations.
    pub part: NdBox,
    /// How it is costed.
    pub op: Op,
    /// How long the engine is occupied.
    pub cycles: Cycles,
    /// Operands and partial sums.
    pub reads: Vec<StayId>,
    /// What it writes.
    pub writes: Vec<StayId>,
}

/// Writes a plan down step by step.
pub(super) struct Recorder<'a> {
    chains: &'a [&'a Chain],
    plan: Plan,
    /// The newest stay of each slot, by job.
    stay_of: Vec<IdVec<SlotId, StayId>>,
    /// Outputs that are complete and not yet stored, in order: `machine` keeps the same queue.
    unstored: VecDeque<Transfer>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(chains: &'a [&'a Chain]) -> Self {
        let none_yet = |chain: &&Chain| chain.slots.iter().map(|_| StayId(u32::MAX)).collect();
        let stay_of = chains.iter().map(none_yet).collect();
        Self { chains, plan: Plan::default(), stay_of, unstored: VecDeque::new() }
    }

    /// The next tile of a job, with the stores that go before its load.
    pub(super) fn step(&mut self, step: &Step) {
        self.store(step.stores());
        let (job, request) = (step.job, step.request);
        let chain = self.chains[job];
        let tile = &chain.tiles[step.tile];
        for (&slot, &address) in tile.loads.iter().chain(&tile.begins).zip(&step.addresses) {
            self.begin(job, request, slot, address);
        }
        for &(slot, old) in &tile.replaces {
            let address = self.plan.stays[self.stay_of[job][old]].address;
            self.begin(job, request, slot, address);
        }
        if !tile.loads.is_empty() {
            let stays = self.stays(job, &tile.loads);
            let transfer = Transfer { stays, bytes: tile.load_bytes, cycles: tile.load_cycles };
            self.plan.commands.push(Planned::Load(transfer));
        }
        let (reads, writes) = (self.stays(job, &tile.reads), self.stays(job, &tile.writes));
        let (layer, part, op, cycles) = (tile.layer, tile.part.clone(), tile.op, tile.cycles);
        self.plan.commands.push(Planned::Tile(Tile { job, request, layer, part, op, cycles, reads, writes }));
        for &(slot, cycles) in &tile.stores {
            let (stays, bytes) = (self.stays(job, &[slot]), chain.slots[slot].bytes);
            self.unstored.push_back(Transfer { stays, bytes, cycles });
        }
    }

    /// The oldest `count` stores.
    pub(super) fn store(&mut self, count: usize) {
        self.plan.commands.extend(self.unstored.drain(..count).map(Planned::Store));
    }

    pub(super) fn finish(self) -> Plan {
        self.plan
    }

    fn begin(&mut self, job: usize, request: u32, slot: SlotId, address: u64) {
        let Slot { tensor, part, element_bits, bytes, sources: _, tiles: _ } = &self.chains[job].slots[slot];
        let (tensor, part, element_bits, bytes) = (*tensor, part.clone(), *element_bits, *bytes);
        let stay = Stay { address, bytes, job, request, tensor, part, element_bits };
        self.stay_of[job][slot] = self.plan.stays.push(stay);
    }

    fn stays(&self, job: usize, slots: &[SlotId]) -> Vec<StayId> {
        slots.iter().map(|&slot| self.stay_of[job][slot]).collect()
    }
}
