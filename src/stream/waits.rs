//! The waits of each command: the fewest that make the stream right under any timing.
//!
//! A command must start only when every earlier command is done that touches the same bytes of SRAM, where one of the
//! two writes; and a load of what was spilled, when all is stored that it brings. Much of that the queues say already: compute commands run in order, and so do transfers of one
//! direction; and what waits for a command knows all that this one knew. A vector clock with a hand for each of the
//! three classes (compute, load, store) keeps what is surely done before a command starts; only what it does not say
//! becomes a wait.

use std::collections::BTreeMap;

use crate::schedule::{Buffer, BufferId, Command, CommandId, Direction, IdVec, ModelId, TensorId, Transfer};

/// Compute, load, store.
const CLASSES: usize = 3;

/// A tensor in DRAM: of which model, and of which request if it is no weight.
type TensorKey = (ModelId, Option<u32>, TensorId);

/// How many commands of each class are surely done: a prefix of each class's order.
type Clock = [u32; CLASSES];

/// Sets the waits of all commands, which stand in the order of both queues.
pub(super) fn derive(commands: &mut IdVec<CommandId, Command>, buffers: &IdVec<BufferId, Buffer>) {
    let mut deriver = Deriver {
        buffers,
        clocks: IdVec::new(),
        engines: [Clock::default(); 2],
        order: [const { Vec::new() }; CLASSES],
        users: buffers.iter().map(|_| Users::default()).collect(),
        owners: Owners::default(),
        stored: BTreeMap::new(),
    };
    for id in commands.ids() {
        let waits = deriver.command(&commands[id]);
        match &mut commands[id] {
            Command::Dma(transfer) => transfer.timing.waits = waits,
            Command::Compute(tile) => tile.timing.waits = waits,
        }
    }
}

struct Deriver<'a> {
    buffers: &'a IdVec<BufferId, Buffer>,
    /// What is surely done when each command starts, itself not counted.
    clocks: IdVec<CommandId, Clock>,
    /// The clock of the newest command on each engine.
    engines: [Clock; 2],
    /// The commands of each class, in order.
    order: [Vec<CommandId>; CLASSES],
    users: IdVec<BufferId, Users>,
    owners: Owners,
    /// What is stored of each tensor of each request, and how many stores there were with it.
    stored: BTreeMap<TensorKey, Vec<(BufferId, u32)>>,
}

/// How many commands of each class there were up to the last that read, or wrote, a buffer.
#[derive(Clone, Copy, Default)]
struct Users {
    reads: Clock,
    writes: Clock,
    is_begun: bool,
}

impl Users {
    fn all(&self) -> Clock {
        later(self.reads, self.writes)
    }
}

impl Deriver<'_> {
    fn command(&mut self, command: &Command) -> Vec<CommandId> {
        let (class, reads, writes): (usize, &[BufferId], &[BufferId]) = match command {
            Command::Compute(tile) => (0, &tile.reads, &tile.writes),
            Command::Dma(transfer) => match transfer.op {
                Direction::Load => (1, &[], &transfer.buffers),
                Direction::Store => (2, &transfer.buffers, &[]),
            },
        };
        let mut needed = Clock::default();
        for &buffer in reads {
            needed = later(needed, self.users[buffer].writes);
        }
        for &buffer in writes {
            needed = later(needed, self.users[buffer].all());
            if !self.users[buffer].is_begun {
                self.users[buffer].is_begun = true;
                needed = later(needed, self.owners.replace(buffer, self.buffers, &self.users));
            }
        }
        if let Command::Dma(Transfer { op: Direction::Load, buffers, bytes: _, timing: _ }) = command {
            needed[2] = buffers.iter().map(|&buffer| self.stores_of(buffer)).fold(needed[2], u32::max);
        }
        let (waits, clock) = self.waits(class, needed);
        self.clocks.push(clock);
        self.order[class].push(CommandId::from(self.clocks.len() - 1));
        self.engines[usize::from(class > 0)] = clock;
        let now = self.order[class].len() as u32;
        reads.iter().for_each(|&buffer| self.users[buffer].reads[class] = now);
        writes.iter().for_each(|&buffer| self.users[buffer].writes[class] = now);
        if let Command::Dma(Transfer { op: Direction::Store, buffers, bytes: _, timing: _ }) = command {
            buffers.iter().for_each(|&buffer| self.stored.entry(self.tensor(buffer)).or_default().push((buffer, now)));
        }
        waits
    }

    /// How many stores there were up to the last that stored some of what a buffer is loaded with.
    fn stores_of(&self, buffer: BufferId) -> u32 {
        let Some(stored) = self.stored.get(&self.tensor(buffer)) else { return 0 };
        let part = &self.buffers[buffer].part;
        let meeting = stored.iter().rev().find(|(other, _)| self.buffers[*other].part.meet(part).is_some());
        meeting.map_or(0, |&(_, count)| count)
    }

    fn tensor(&self, buffer: BufferId) -> TensorKey {
        let buffer = &self.buffers[buffer];
        (buffer.model, buffer.request, buffer.tensor)
    }

    /// The waits that a command of this class needs so that `needed` is surely done, and its clock with them.
    fn waits(&self, class: usize, needed: Clock) -> (Vec<CommandId>, Clock) {
        let mut clock = self.engines[usize::from(class > 0)];
        if class == 0 {
            clock[0] = self.order[0].len() as u32;
        }
        let mut waits = Vec::new();
        loop {
            // Of transfers in one direction the queue's order is enough.
            let missing = |&other: &usize| other != class && needed[other] > clock[other];
            let newest =
                (0..CLASSES).filter(missing).map(|other| (self.order[other][needed[other] as usize - 1], other));
            // The newest first: what it knows may spare the others.
            let Some((wait, other)) = newest.max() else { break };
            clock = later(clock, self.clocks[wait]);
            clock[other] = clock[other].max(needed[other]);
            waits.push(wait);
        }
        waits.sort_unstable();
        (waits, clock)
    }
}

fn later(a: Clock, b: Clock) -> Clock {
    std::array::from_fn(|class| a[class].max(b[class]))
}

/// Which buffer had which bytes last.
#[derive(Default)]
struct Owners {
    /// In order of address, without overlaps.
    held: Vec<(u64, u64, BufferId)>,
}

impl Owners {
    /// Gives a buffer its bytes, and says who used them before.
    fn replace(&mut self, new: BufferId, buffers: &IdVec<BufferId, Buffer>, users: &IdVec<BufferId, Users>) -> Clock {
        let (begin, end) = (buffers[new].address, buffers[new].address + buffers[new].bytes.get());
        let first = self.held.partition_point(|&(_, held_end, _)| held_end <= begin);
        let after = self.held.partition_point(|&(held_begin, _, _)| held_begin < end);
        if begin >= end {
            return Clock::default();
        }
        let replaced = &self.held[first..after];
        let clock = replaced.iter().fold(Clock::default(), |clock, &(_, _, old)| later(clock, users[old].all()));
        let before = replaced.first().filter(|held| held.0 < begin).map(|&(low, _, old)| (low, begin, old));
        let behind = replaced.last().filter(|held| held.1 > end).map(|&(_, high, old)| (end, high, old));
        let now = before.into_iter().chain([(begin, end, new)]).chain(behind);
        let now: Vec<_> = now.collect();
        self.held.splice(first..after, now);
        clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{LayerId, NdBox, Op};
    use crate::schedule::{Tile, Timing};
    use crate::units::{Bytes, Cycles};

    fn buffer((address, bytes, tensor): (u64, u64, u32)) -> Buffer {
        let part = NdBox::whole([bytes]);
        let (model, tensor) = (ModelId(0), TensorId(tensor));
        Buffer { address, bytes: Bytes(bytes), model, request: None, tensor, part, element_bits: 8 }
    }

    fn timing() -> Timing {
        Timing { cycles: Cycles(1), waits: Vec::new(), start: Cycles(0), done: Cycles(0) }
    }

    fn dma(op: Direction, buffer: u32) -> Command {
        Command::Dma(Transfer { op, buffers: vec![BufferId(buffer)], bytes: Bytes(1), timing: timing() })
    }

    fn tile(reads: &[u32], writes: &[u32]) -> Command {
        let ids = |ids: &[u32]| ids.iter().map(|&id| BufferId(id)).collect();
        let (model, layer, part) = (ModelId(0), LayerId(0), NdBox::whole([1]));
        let (reads, writes) = (ids(reads), ids(writes));
        Command::Compute(Tile { op: Op::Gemm, model, request: 0, layer, part, reads, writes, timing: timing() })
    }

    /// By hand. Buffers: 0 and 2 share bytes 0..100; 1 and 4 share 100..200; 3 and 5 are alone, and of one tensor.
    /// cmd0 load 0; cmd1 load 1; cmd2 reads 0 and 1, writes 3: waits for the later load alone, which knows the other.
    /// cmd3 loads 2 over 0: waits for its reader cmd2. cmd4 reads 2. cmd5 stores 3: written by cmd2, which the DMA
    /// queue knows to be done from cmd3 on. cmd6 loads 4 over 1: read by cmd2, known likewise. cmd7 writes 3 again:
    /// after the store that reads it. cmd8 loads into 5 what cmd5 stored: it waits for that, though both are transfers.
    #[test]
    fn waits_by_hand() {
        let layout = [(0, 100, 0), (100, 100, 1), (0, 100, 2), (200, 100, 3), (100, 100, 4), (300, 100, 3)];
        let buffers: IdVec<BufferId, Buffer> = layout.map(buffer).into_iter().collect();
        let mut commands: IdVec<CommandId, Command> = [
            dma(Direction::Load, 0),
            dma(Direction::Load, 1),
            tile(&[0, 1], &[3]),
            dma(Direction::Load, 2),
            tile(&[2], &[]),
            dma(Direction::Store, 3),
            dma(Direction::Load, 4),
            tile(&[4], &[3]),
            dma(Direction::Load, 5),
        ]
        .into_iter()
        .collect();
        derive(&mut commands, &buffers);
        let waits: Vec<Vec<u32>> =
            commands.iter().map(|command| command.timing().waits.iter().map(|wait| wait.0).collect()).collect();
        let by_hand: [&[u32]; 9] = [&[], &[], &[1], &[2], &[3], &[], &[], &[5, 6], &[5]];
        assert_eq!(waits, by_hand);
    }
}
