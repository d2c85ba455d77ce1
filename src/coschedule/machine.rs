//! The machine while a schedule is made: both engines, the scratchpad, and how far each job is.
//!
//! A schedule is a sequence of steps. A step is the next tile of one job: its load goes to the end of the DMA queue, in
//! space that is free or will be; its compute command goes to the end of the compute queue. The DMA engine so runs
//! ahead as far as the scratchpad allows. Times are those of the machine model; `stream` finds the same ones from the
//! waits that it derives.

use std::collections::VecDeque;

use super::chain::{Chain, Slot, SlotId};
use super::live::{Live, Lives};
use super::optimal::counts::Clock;
use super::placing::Addresses;
use super::space::{Hole, Side, Space};
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

/// The state after some steps.
#[derive(Clone, Debug)]
pub(super) struct Machine<'a> {
    chains: &'a [&'a Chain],
    requests: &'a [u32],
    latency: Cycles,
    style: Style,
    /// Where stays go, if that is settled.
    given: Option<&'a Addresses>,
    /// When the DRAM channel is free for the next transfer.
    pub(super) dma_free: Cycles,
    /// When the compute engine is free for the next tile.
    pub(super) compute_free: Cycles,
    /// When the last command so far is done.
    done: Cycles,
    /// With what the last probe changed in it.
    space: Space,
    /// Whose next tile that was, if it had room.
    probed: Option<usize>,
    /// Tiles done of each job, over all its requests.
    next: Vec<usize>,
    /// Where each slot is, by job.
    live: Vec<Lives>,
    /// Complete outputs that are not yet stored, in order. A store in the queue before its data are there would stop
    /// the loads behind it.
    unstored: VecDeque<Unstored>,
}

/// What a machine does where an order leaves it a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Whether outputs stay until all is loaded, as long as there is room.
    pub(super) stores_late: bool,
    /// Where a stay is put.
    pub(super) placement: Placement,
}

/// Where a stay is put, of all places that are free equally early. None is the best for all orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// In the smallest hole; what is loaded at its low end, what is computed at its high end.
    Snug,
    /// In the smallest hole; at its high end what many tiles use.
    ByLife,
    /// What is loaded as low as possible, what is computed as high as possible.
    Apart,
}

impl Style {
    /// Stores as soon as possible, in the smallest holes.
    pub(super) const PLAIN: Self = Self { stores_late: false, placement: Placement::Snug };
    /// The same, as far apart as possible.
    pub(super) const APART: Self = Self { stores_late: false, placement: Placement::Apart };
    /// What is tried for an order, what is the best most often first.
    pub(super) const ALL: [Self; 6] = [
        Self { stores_late: true, placement: Placement::Snug },
        Self::PLAIN,
        Self { stores_late: true, placement: Placement::ByLife },
        Self { stores_late: false, placement: Placement::ByLife },
        Self { stores_late: true, placement: Placement::Apart },
        Self::APART,
    ];
}

/// A stay that more tiles of its job use is long.
const LONG_LIFE: usize = 5;

impl Placement {
    fn hole(self) -> Hole {
        match self {
            Self::Snug | Self::ByLife => Hole::Smallest,
            Self::Apart => Hole::Nearest,
        }
    }

    /// At which end; `side` is that of its kind.
    fn side(self, side: Side, tiles: usize) -> Side {
        match self {
            Self::Snug | Self::Apart => side,
            Self::ByLife if tiles > LONG_LIFE => Side::High,
            Self::ByLife => Side::Low,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Unstored {
    job: usize,
    request: u32,
    slot: SlotId,
    address: u64,
    bytes: Bytes,
    cycles: Cycles,
    /// When its last tile is done.
    ready: Cycles,
    /// When its last reader is done, once that is known.
    released: Option<Cycles>,
}

/// The next tile of a job, as it would run now.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) job: usize,
    pub(super) request: u32,
    /// Its place in the chain.
    pub(super) tile: usize,
    /// Where its loads, and then the slots that it begins, are.
    pub(super) addresses: Vec<u64>,
    /// For how long the DRAM channel waits before its load.
    pub(super) dma_idle: Cycles,
    /// For how long the compute engine waits before its tile.
    pub(super) compute_idle: Cycles,
    dma_free: Cycles,
    compute_done: Cycles,
    done: Cycles,
    /// When each of the outputs is stored that are stored before its load, the oldest.
    stored: Vec<Cycles>,
}

impl Step {
    /// When the engines are free after it.
    pub(super) fn clock(&self) -> Clock {
        Clock { compute: self.compute_done.get(), dma: self.dma_free.get() }
    }

    /// How many of the oldest outputs are stored before its load.
    pub(super) fn stores(&self) -> usize {
        self.stored.len()
    }
}

/// The space that is free is too little, or too cut up, for a job's next tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    pub(super) job: usize,
    pub(super) tile: usize,
    /// What of it finds no place: it has to lie in one piece.
    pub(super) piece: Bytes,
    /// The longest piece that is free beside what was placed of the tile before.
    pub(super) longest: Bytes,
    /// What is held that the tile does not begin.
    pub(super) held: Bytes,
}

impl<'a> Machine<'a> {
    pub(super) fn new(npu: &Npu, chains: &'a [&'a Chain], requests: &'a [u32]) -> Self {
        Self {
            chains,
            requests,
            latency: Cycles(npu.dram.latency_cycles),
            style: Style::PLAIN,
            given: None,
            dma_free: Cycles::ZERO,
            compute_free: Cycles::ZERO,
            done: Cycles::ZERO,
            space: Space::new(&npu.sram),
            probed: None,
            next: chains.iter().map(|_| 0).collect(),
            live: chains.iter().map(|chain| Lives::new(&chain.slots)).collect(),
            unstored: VecDeque::new(),
        }
    }

    /// The same machine in another style.
    pub(super) fn with_style(self, style: Style) -> Self {
        Self { style, ..self }
    }

    /// The same machine, each stay put where it is said.
    pub(super) fn with_addresses(self, given: &'a Addresses) -> Self {
        Self { given: Some(given), ..self }
    }

    /// Tiles of a job that are done, and all that it has.
    pub(super) fn progress(&self, job: usize) -> (u64, u64) {
        (self.next[job] as u64, self.chains[job].tiles.len() as u64 * u64::from(self.requests[job]))
    }

    pub(super) fn has_next(&self, job: usize) -> bool {
        let (next, all) = self.progress(job);
        next < all
    }

    /// The next tile of a job, if it were taken now. The job has one.
    pub(super) fn probe(&mut self, job: usize) -> Result<Step, NoRoom> {
        let in_time =
            self.unstored.iter().take_while(|output| !self.style.stores_late && output.ready <= self.dma_free).count();
        let least = in_time.max(self.owed(job));
        self.space.undo(0);
        let mut queue = Queue { dma_free: self.dma_free, stored: Vec::new() };
        (0..least).for_each(|_| _ = self.try_store(&mut queue));
        let step = loop {
            let without_tile = self.space.moment();
            let step = self.step(job, &queue);
            if step.is_ok() {
                break step;
            }
            self.space.undo(without_tile);
            // Space that outputs hold is worth a wait only where there is no other: one more at a time.
            if !self.try_store(&mut queue) {
                break step;
            }
        };
        self.probed = step.is_ok().then_some(job);
        step
    }

    /// Stores one more output, if there is one.
    fn try_store(&mut self, queue: &mut Queue) -> bool {
        let next = self.unstored.get(queue.stored.len());
        if let Some(output) = next {
            let done = queue.push(output, self.latency);
            output.give(&mut self.space, done);
        }
        next.is_some()
    }

    /// How many stores must come before the next tile's load, which loads what they store.
    fn owed(&self, job: usize) -> usize {
        let chain = self.chains[job];
        let tile = &chain.tiles[self.next[job] % chain.tiles.len()];
        let mut sources = tile.loads.iter().flat_map(|&slot| &chain.slots[slot].sources).peekable();
        if sources.peek().is_none() {
            return 0;
        }
        let sources: Vec<SlotId> = sources.copied().collect();
        let is_source = |output: &Unstored| output.job == job && sources.contains(&output.slot);
        self.unstored.iter().rposition(is_source).map_or(0, |last| last + 1)
    }

    fn step(&mut self, job: usize, queue: &Queue) -> Result<Step, NoRoom> {
        let chain = self.chains[job];
        let at = self.next[job] % chain.tiles.len();
        let request = u32::try_from(self.next[job] / chain.tiles.len()).expect("a count of requests");
        let tile = &chain.tiles[at];
        let mut addresses = Vec::with_capacity(tile.loads.len() + tile.begins.len());
        let placement = self.style.placement;
        let given = self.given.map(|given| given.of(job, self.next[job]));
        let space = &mut self.space;
        let mut take = |slot: SlotId, now, side| {
            let Slot { bytes, tiles, .. } = chain.slots[slot];
            let place = match given {
                Some(given) => space.take_at(given[addresses.len()], bytes, now),
                None => space.take(bytes, now, placement.side(side, tiles), placement.hole()),
            };
            let no_room = |space: &Space| {
                let placed = tile.loads.iter().chain(&tile.begins).take(addresses.len());
                let own = placed.map(|&slot| chain.slots[slot].bytes.max(Bytes(1))).sum();
                let held = space.held().saturating_sub(own);
                NoRoom { job, tile: at, piece: bytes, longest: space.longest(), held }
            };
            let place = place.ok_or_else(|| no_room(space))?;
            addresses.push(place.address);
            Ok(place.ready)
        };
        let mut load_start = queue.dma_free;
        for &slot in &tile.loads {
            load_start = load_start.max(take(slot, queue.dma_free, Side::Low)?);
        }
        for &source in tile.loads.iter().flat_map(|&slot| &chain.slots[slot].sources) {
            let just = queue.stored(&self.unstored, job, source);
            load_start = load_start.max(just.unwrap_or(self.live[job].get(source).stored));
        }
        let is_load = !tile.loads.is_empty();
        let loaded = if is_load { load_start + tile.load_cycles + self.latency } else { Cycles::ZERO };
        let mut compute_start = self.compute_free.max(loaded);
        for &slot in &tile.begins {
            compute_start = compute_start.max(take(slot, compute_start, Side::High)?);
        }
        let compute_done = compute_start + tile.cycles;
        let last_stored = queue.stored.last().copied().unwrap_or_default();
        Ok(Step {
            job,
            request,
            tile: at,
            addresses,
            dma_idle: load_start - queue.dma_free,
            compute_idle: compute_start - self.compute_free,
            dma_free: if is_load { load_start + tile.load_cycles } else { queue.dma_free },
            compute_done,
            done: self.done.max(compute_done).max(loaded).max(last_stored),
            stored: queue.stored.clone(),
        })
    }

    /// Takes a step that `probe` has just given, for this job or before that for another.
    pub(super) fn take(&mut self, step: Step) {
        let chain = self.chains[step.job];
        let tile = &chain.tiles[step.tile];
        if self.probed != Some(step.job) {
            self.space.undo(0);
            self.unstored.iter().zip(&step.stored).for_each(|(output, &done)| output.give(&mut self.space, done));
            let slots = tile.loads.iter().chain(&tile.begins).zip(&step.addresses);
            slots.for_each(|(&slot, &address)| self.space.hold(address, chain.slots[slot].bytes));
        }
        self.probed = None;
        self.settle(&step.stored);
        (self.dma_free, self.compute_free, self.done) = (step.dma_free, step.compute_done, step.done);
        let live = &mut self.live[step.job];
        for (&slot, &address) in tile.loads.iter().chain(&tile.begins).zip(&step.addresses) {
            live.set(slot, Live { address, request: step.request, ..Live::default() });
        }
        for &(slot, old) in &tile.replaces {
            let address = live.get(old).address;
            live.set(slot, Live { address, request: step.request, ..Live::default() });
        }
        for &(slot, cycles) in &tile.stores {
            let of_slot = Live { is_owed: true, ..live.get(slot) };
            live.set(slot, of_slot);
            let (address, bytes) = (of_slot.address, chain.slots[slot].bytes);
            let (job, request, ready) = (step.job, step.request, step.compute_done);
            self.unstored.push_back(Unstored { job, request, slot, address, bytes, cycles, ready, released: None });
        }
        for &slot in &tile.ends {
            let Live { address, request: _, stored, is_owed } = self.live[step.job].get(slot);
            if is_owed {
                let mut owed = self.unstored.iter_mut().rev();
                let output = owed.find(|output| (output.job, output.slot) == (step.job, slot));
                output.expect("an owed store is queued").released = Some(step.compute_done);
            } else {
                self.space.give(address, chain.slots[slot].bytes, step.compute_done.max(stored));
            }
        }
        self.next[step.job] += 1;
        self.space.settle(self.dma_free.min(self.compute_free));
    }

    /// The oldest outputs are stored: what still reads them, or loads them again, needs to know.
    fn settle(&mut self, stored: &[Cycles]) {
        for (output, &done) in self.unstored.drain(..stored.len()).zip(stored) {
            let live = self.live[output.job].get(output.slot);
            if live.request == output.request {
                self.live[output.job].set(output.slot, Live { stored: done, is_owed: false, ..live });
            }
        }
    }

    /// Stores what is left, and says how many outputs that was and when the last command is done.
    pub(super) fn finish(self) -> (usize, Cycles) {
        let mut queue = Queue { dma_free: self.dma_free, stored: Vec::new() };
        self.unstored.iter().for_each(|output| _ = queue.push(output, self.latency));
        (queue.stored.len(), self.done.max(queue.stored.last().copied().unwrap_or_default()))
    }
}

impl Unstored {
    /// Its space, if nothing reads it any more.
    fn give(&self, space: &mut Space, stored: Cycles) {
        if let Some(released) = self.released {
            space.give(self.address, self.bytes, stored.max(released));
        }
    }
}

/// The oldest outputs on their way to DRAM, behind all transfers so far.
struct Queue {
    /// When the channel is free after them.
    dma_free: Cycles,
    /// When each is done.
    stored: Vec<Cycles>,
}

impl Queue {
    /// One more, and when it is done.
    fn push(&mut self, output: &Unstored, latency: Cycles) -> Cycles {
        self.dma_free = self.dma_free.max(output.ready) + output.cycles;
        let done = self.dma_free + latency;
        self.stored.push(done);
        done
    }

    /// When a spilled slot is in DRAM, if it is among them.
    fn stored(&self, outputs: &VecDeque<Unstored>, job: usize, slot: SlotId) -> Option<Cycles> {
        let mut queued = outputs.iter().zip(&self.stored).rev();
        queued.find(|(output, _)| (output.job, output.slot) == (job, slot)).map(|(_, &done)| done)
    }
}
