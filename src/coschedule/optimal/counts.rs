//! The machine by counts: SRAM as a number of bytes instead of addresses; stores as late as can be, at the end or just
//! before the load that brings back what they store.
//!
//! A search over thousands of orders needs a state of a few words. Of a state that has done `at` tiles of each job, the
//! bytes taken and given back so far depend on `at` alone, whatever the order was; only *when* they were given back
//! depends on the order. So a state is (`at`, DMA free, compute free), and the times of its predecessors. What an order
//! is worth is what the real machine makes of it.

use crate::coschedule::bound::Block;
use crate::coschedule::chain::{Chain, ChainTile, SlotId};
use crate::ir::IdVec;
use crate::npu::Npu;
use crate::units::Cycles;

/// Two jobs, request after request, on one machine. Cycles and bytes are plain numbers here.
pub(in crate::coschedule) struct Counts<'a> {
    pub(super) lines: [&'a Line; 2],
    pub(super) latency: u64,
    pub(super) sram: u64,
    pub(super) alignment: u64,
    /// Cycles for a byte over the channel, at its full rate, as a fraction.
    pub(super) rate: (u128, u128),
}

/// The tiles of a job, and their sums.
pub(in crate::coschedule) struct Line {
    pub(super) tiles: Vec<Tile>,
    /// Bytes loaded for the first n tiles.
    pub(super) loaded: Vec<u64>,
    /// Cycles of the stores that the first n tiles make ready.
    pub(super) stored: Vec<u64>,
    /// Cycles of those of them that must be done before these tiles are, for they load the same again.
    pub(super) due: Vec<u64>,
    /// Space for the loads of the first n tiles, and for all else that they are the first to use.
    held: Vec<u64>,
    begun: Vec<u64>,
    /// Bytes given back by the first n tiles.
    freed: Vec<u64>,
    /// Cycles of compute after the first n tiles.
    pub(super) compute_left: Vec<u64>,
    /// Cycles of loads after the first n tiles.
    pub(super) loads_left: Vec<u64>,
    /// From the end of its last tile to the end of the stores that only that one completes.
    pub(super) tail: u64,
}

/// Jobs of more tiles than this are left to the policies.
const MOST_TILES: usize = 1 << 19;

/// What a tile takes and leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tile {
    pub(super) has_load: bool,
    pub(super) load: u64,
    pub(super) compute: u64,
    loaded_bytes: u64,
    begun_bytes: u64,
    /// The stores of what it loads again, if it is the first to do so.
    pub(super) due: Option<Due>,
}

/// Stores that a load waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    cycles: u64,
    /// After so many tiles of the job all of it has been computed.
    pub(super) after: usize,
}

/// When the engines are free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::coschedule) struct Clock {
    pub(in crate::coschedule) compute: u64,
    pub(in crate::coschedule) dma: u64,
}

impl<'a> Counts<'a> {
    pub(in crate::coschedule) fn new(npu: &Npu, lines: [&'a Line; 2]) -> Self {
        let (sram, alignment) = (npu.sram.bytes.get(), npu.sram.alignment_bytes.get());
        Self { lines, latency: npu.dram.latency_cycles, sram, alignment, rate: npu.cycles_per_byte() }
    }

    /// The tiles of both jobs.
    pub(in crate::coschedule) fn levels(&self) -> usize {
        self.lines[0].tiles.len() + self.lines[1].tiles.len()
    }

    /// What both jobs hold while a job's next tile runs, but for loads: of those, less what was given back.
    pub(super) fn peak(&self, at: [usize; 2], job: usize) -> i64 {
        let begun = self.lines[job].tiles.get(at[job]).map_or(0, |tile| tile.begun_bytes);
        signed(self.sum(at, |line| &line.begun) + begun) - signed(self.sum(at, |line| &line.freed))
    }

    /// Before a job's next tile can be loaded, all tiles must be done whose peak is above this; `None` where it has no
    /// next tile, or no room for it even when all tiles so far are done.
    pub(super) fn spare(&self, at: [usize; 2], job: usize) -> Option<i64> {
        let tile = self.lines[job].tiles.get(at[job])?;
        let spare = signed(self.sram) - self.held(at) - signed(tile.loaded_bytes);
        (self.peak(at, job) <= spare).then_some(spare)
    }

    /// What is loaded for the tiles so far, with what was given back.
    pub(super) fn held(&self, at: [usize; 2]) -> i64 {
        signed(self.sum(at, |line| &line.held))
    }

    /// Of both jobs, a sum of each over its tiles so far, or from there on.
    fn sum(&self, at: [usize; 2], of: fn(&Line) -> &Vec<u64>) -> u64 {
        of(self.lines[0])[at[0]] + of(self.lines[1])[at[1]]
    }

    /// Runs a tile whose space is there at `ready`; what is due before its load was computed at `computed`.
    pub(super) fn run(&self, clock: Clock, tile: &Tile, ready: u64, computed: u64) -> Clock {
        if !tile.has_load {
            return Clock { compute: clock.compute + tile.compute, ..clock };
        }
        let free = tile.due.map_or(clock.dma, |due| clock.dma.max(computed) + due.cycles + self.latency);
        let dma = free.max(ready) + tile.load;
        Clock { compute: clock.compute.max(dma + self.latency) + tile.compute, dma }
    }

    /// No order of the tiles that are left is done earlier, by the sums alone.
    pub(in crate::coschedule) fn least(&self, at: [usize; 2], clock: Clock) -> u64 {
        let compute = clock.compute + self.sum(at, |line| &line.compute_left);
        compute.max(clock.dma + self.sum(at, |line| &line.loads_left)) + self.least_tail()
    }

    /// What comes after the last tile, whichever that is.
    pub(super) fn least_tail(&self) -> u64 {
        self.lines[0].tail.min(self.lines[1].tail)
    }

    /// The flow shop's best order for unlimited SRAM: composite blocks by Johnson's rule.
    pub(super) fn johnson(&self) -> Vec<u8> {
        let mut blocks: Vec<(Block, u8, usize)> = Vec::new();
        for (job, line) in (0..).zip(self.lines) {
            let of_job = blocks.len();
            for tile in &line.tiles {
                let load = tile.has_load.then_some(Cycles(tile.load));
                let mut block = Block::tile(load, Cycles(tile.compute), Cycles(self.latency));
                let mut count = 1;
                while blocks.len() > of_job && block.cmp(blocks[blocks.len() - 1].0).is_lt() {
                    let (before, _, tiles) = blocks.pop().expect("one is there");
                    (block, count) = (before.then(block), count + tiles);
                }
                blocks.push((block, job, count));
            }
        }
        blocks.sort_by(|a, b| a.0.cmp(b.0));
        blocks.into_iter().flat_map(|(_, job, count)| std::iter::repeat_n(job, count)).collect()
    }
}

impl Tile {
    /// For how long the channel is busy with what it needs.
    pub(super) fn channel(&self) -> u64 {
        self.due.map_or(0, |due| due.cycles) + self.load
    }

    /// Compute less load.
    pub(super) fn surplus(&self) -> i128 {
        i128::from(self.compute) - i128::from(self.load)
    }
}

impl Line {
    /// The tiles of all requests; `None` where they are too many to search, or their sums too large for plain numbers.
    pub(in crate::coschedule) fn new(npu: &Npu, chain: &Chain, requests: u32) -> Option<Self> {
        let alignment = npu.sram.alignment_bytes.get();
        let bytes = |slots: &[SlotId]| -> u64 {
            slots.iter().map(|&slot| chain.slots[slot].bytes.get().max(1).next_multiple_of(alignment)).sum()
        };
        let count = chain.tiles.len().checked_mul(requests as usize).filter(|&count| count <= MOST_TILES)?;
        let of_tile = |tile: &ChainTile| u128::from(tile.cycles.get()) + u128::from(tile.load_cycles.get());
        let cycles = chain.tiles.iter().map(of_tile).sum::<u128>() * u128::from(requests);
        let slots = chain.slots.iter().map(|slot| u128::from(slot.bytes.get()) + u128::from(alignment)).sum::<u128>();
        if cycles.max(slots * u128::from(requests)) > 1 << 60 {
            return None;
        }
        let mut line = Self {
            tiles: Vec::with_capacity(count),
            loaded: vec![0],
            stored: vec![0],
            due: vec![0],
            held: vec![0],
            begun: vec![0],
            freed: vec![0],
            compute_left: vec![0; count + 1],
            loads_left: vec![0; count + 1],
            tail: 0,
        };
        let due = due(chain);
        let of_request: Vec<OfTile> = chain
            .tiles
            .iter()
            .enumerate()
            .map(|(n, tile)| OfTile {
                tile: Tile {
                    has_load: !tile.loads.is_empty(),
                    load: tile.load_cycles.get(),
                    compute: tile.cycles.get(),
                    loaded_bytes: bytes(&tile.loads),
                    begun_bytes: bytes(&tile.begins),
                    due: due[n],
                },
                loads: tile.load_bytes.get(),
                stores: tile.stores.iter().map(|(_, cycles)| cycles.get()).sum(),
                ends: bytes(&tile.ends),
            })
            .collect();
        for of_tile in (0..requests).flat_map(|_| &of_request) {
            let before = line.tiles.len() / chain.tiles.len() * chain.tiles.len();
            let due = of_tile.tile.due.map(|due| Due { after: before + due.after, ..due });
            let tile = Tile { due, ..of_tile.tile };
            line.tiles.push(tile);
            push_sum(&mut line.loaded, of_tile.loads);
            push_sum(&mut line.stored, of_tile.stores);
            push_sum(&mut line.due, tile.due.map_or(0, |due| due.cycles));
            push_sum(&mut line.held, tile.loaded_bytes);
            push_sum(&mut line.begun, tile.begun_bytes);
            push_sum(&mut line.freed, of_tile.ends);
        }
        for (n, tile) in line.tiles.iter().enumerate().rev() {
            line.compute_left[n] = line.compute_left[n + 1] + tile.compute;
            line.loads_left[n] = line.loads_left[n + 1] + tile.load;
        }
        let last = chain.tiles.last().map_or(&[][..], |tile| &tile.stores);
        line.tail = last.iter().map(|(_, cycles)| cycles.get()).sum();
        line.tail += if last.is_empty() { 0 } else { npu.dram.latency_cycles };
        Some(line)
    }
}

/// What one tile adds to the sums of its line.
struct OfTile {
    tile: Tile,
    loads: u64,
    stores: u64,
    ends: u64,
}

/// Adds a sum: the last one, and something more.
fn push_sum(sums: &mut Vec<u64>, more: u64) {
    sums.push(sums.last().copied().unwrap_or(0) + more);
}

/// For each tile, the stores that it is the first to wait for.
fn due(chain: &Chain) -> Vec<Option<Due>> {
    let mut waiting: IdVec<SlotId, Option<Due>> = chain.slots.iter().map(|_| None).collect();
    for (n, tile) in chain.tiles.iter().enumerate() {
        tile.stores.iter().for_each(|&(slot, cycles)| waiting[slot] = Some(Due { cycles: cycles.get(), after: n + 1 }));
    }
    let both = |a: Due, b: Due| Due { cycles: a.cycles + b.cycles, after: a.after.max(b.after) };
    let of_tile = |tile: &ChainTile| {
        let sources = tile.loads.iter().flat_map(|&slot| &chain.slots[slot].sources);
        sources.filter_map(|&source| waiting[source].take()).reduce(both)
    };
    chain.tiles.iter().map(of_tile).collect()
}

/// Sums of bytes stay below 2^60.
pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
