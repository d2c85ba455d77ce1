//! What is surely done before what: by waits and queue order alone, under any timing.
//!
//! Commands fall into three classes, each of which gets done in the order of its queue: compute commands, loads, and
//! stores. So what is surely done at a moment is said by three counts, a [`Clock`]: the first so many of each class.
//!
//! - Before a command starts, all is done that was done before its engine's previous command started, and so is each
//!   command that it waits for, with all that was done before that one.
//! - A compute command knows the one before it to be done. A transfer does not: the channel is free again before the
//!   data are there. Two transfers in the same direction need no more than their order all the same, but what is known
//!   in that way is not passed on to others, who need a wait.

use crate::schedule::{Command, CommandId, Direction, IdVec};

/// The classes that get done in order, each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Compute,
    Load,
    Store,
}

impl Class {
    pub(super) const fn of(command: &Command) -> Self {
        match command {
            Command::Compute(_) => Self::Compute,
            Command::Dma(transfer) => match transfer.op {
                Direction::Load => Self::Load,
                Direction::Store => Self::Store,
            },
        }
    }

    const fn is_dma(self) -> bool {
        match self {
            Self::Compute => false,
            Self::Load | Self::Store => true,
        }
    }
}

/// How many commands of each class are done: the first so many of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock([u32; 3]);

impl Clock {
    /// Nothing is done.
    pub(super) const NOTHING: Self = Self([0; 3]);

    /// What is done by either.
    #[must_use]
    pub(super) fn join(self, other: Self) -> Self {
        Self(std::array::from_fn(|class| self.0[class].max(other.0[class])))
    }

    /// What is done by both.
    #[must_use]
    pub(super) fn meet(self, other: Self) -> Self {
        Self(std::array::from_fn(|class| self.0[class].min(other.0[class])))
    }

    /// Whether all is done that `other` asks for.
    pub(super) fn covers(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(&done, asked)| done >= asked)
    }

    /// What is asked for of transfers, compute commands aside.
    #[must_use]
    pub(super) const fn of_transfers(self) -> Self {
        Self([0, self.0[Class::Load as usize], self.0[Class::Store as usize]])
    }
}

/// The order of all commands that holds under any timing.
pub(super) struct Order {
    itself: IdVec<CommandId, Clock>,
    before: IdVec<CommandId, Clock>,
}

impl Order {
    /// `started` is an order in which the commands can start: each after its engine's previous one and its waits.
    pub(super) fn new(commands: &IdVec<CommandId, Command>, started: &[CommandId]) -> Self {
        let itself = count(commands);
        let mut passed_on: IdVec<CommandId, Clock> = commands.iter().map(|_| Clock::NOTHING).collect();
        let mut before = passed_on.clone();
        // Of the DMA engine and the compute engine: what is known when its next command starts.
        let mut known = [Clock::NOTHING; 2];
        for &id in started {
            let class = Class::of(&commands[id]);
            let engine = usize::from(class.is_dma());
            let waits = commands[id].timing().waits.iter();
            let now = waits.fold(known[engine], |now, &wait| now.join(passed_on[wait]).join(itself[wait]));
            passed_on[id] = now;
            known[engine] = if class.is_dma() { now } else { now.join(itself[id]) };
            let mut queued = itself[id];
            queued.0[class as usize] -= 1;
            before[id] = now.join(queued);
        }
        Self { itself, before }
    }

    /// What is surely done before a command starts.
    pub(super) fn before(&self, command: CommandId) -> Clock {
        self.before[command]
    }

    /// What a moment asks for that wants this command done: it, and with it all of its class before it.
    pub(super) fn itself(&self, command: CommandId) -> Clock {
        self.itself[command]
    }

    /// Whether one command is surely done before another starts.
    pub(super) fn is_sure(&self, first: CommandId, second: CommandId) -> bool {
        self.before[second].covers(self.itself[first])
    }
}

/// Each command's place in its class, as the least clock by which it is done.
fn count(commands: &IdVec<CommandId, Command>) -> IdVec<CommandId, Clock> {
    let mut counts = [0; 3];
    let place = |command| {
        let class = Class::of(command) as usize;
        counts[class] += 1;
        let mut clock = Clock::NOTHING;
        clock.0[class] = counts[class];
        clock
    };
    commands.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{LayerId, ModelId, NdBox, Op, Tile, Timing, Transfer};
    use crate::units::{Bytes, Cycles};

    fn timing(waits: &[u32]) -> Timing {
        let waits = waits.iter().copied().map(CommandId).collect();
        Timing { cycles: Cycles(1), waits, start: Cycles::ZERO, done: Cycles::ZERO }
    }

    fn dma(op: Direction, waits: &[u32]) -> Command {
        Command::Dma(Transfer { op, buffers: Vec::new(), bytes: Bytes::ZERO, timing: timing(waits) })
    }

    fn compute(waits: &[u32]) -> Command {
        let (model, layer) = (ModelId(0), LayerId(0));
        let (reads, writes) = (Vec::new(), Vec::new());
        let part = NdBox(Vec::new());
        Command::Compute(Tile { op: Op::Vector, model, request: 0, layer, part, reads, writes, timing: timing(waits) })
    }

    /// cmd0 and cmd1 load, cmd2 computes after cmd1, cmd3 stores after cmd2, cmd4 loads after nothing, cmd5 computes.
    #[test]
    fn queue_order_serves_a_class_and_waits_serve_all() {
        let load = |waits| dma(Direction::Load, waits);
        let commands: IdVec<CommandId, Command> =
            [load(&[]), load(&[]), compute(&[1]), dma(Direction::Store, &[2]), load(&[]), compute(&[])]
                .into_iter()
                .collect();
        let order = Order::new(&commands, &commands.ids().collect::<Vec<_>>());
        let sure = |first, second| order.is_sure(CommandId(first), CommandId(second));
        assert!(sure(0, 1), "two loads are done in order");
        assert!(sure(0, 2), "what waits for a load knows the loads before it");
        assert!(sure(2, 3) && sure(1, 3), "a wait passes on what its command knew");
        assert!(sure(2, 4), "cmd4 starts after cmd3, and that after cmd2 is done");
        assert!(!sure(3, 4), "a store may be under way when the next load starts");
        assert!(sure(1, 5) && !sure(4, 5), "cmd5 knows what cmd2 knew, and nothing of cmd4");
    }
}
