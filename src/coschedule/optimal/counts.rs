//! The machine by counts: SRAM as a number of bytes instead of addresses, stores left to the end.
//!
//! A search over thousands of orders needs a state of a few words. Of a state that has done `at` tiles of each job, the
//! bytes taken and given back so far depend on `at` alone, whatever the order was; only *when* they were given back
//! depends on the order. So a state is (`at`, DMA free, compute free), and the times of its predecessors. What an order
//! is worth is what the real machine makes of it.

use crate::coschedule::bound::Block;
use crate::coschedule::chain::{Chain, ChainTile, SlotId};
use crate::npu::Npu;
use crate::units::Cycles;

/// Two jobs, request after request, on one machine. Cycles and bytes are plain numbers here.
pub(in crate::coschedule) struct Counts<'a> {
    pub(super) lines: [&'a Line; 2],
    pub(super) latency: u64,
    sram: u64,
}

/// The tiles of a job, and their sums.
pub(in crate::coschedule) struct Line {
    pub(super) tiles: Vec<Tile>,
    /// Bytes taken by the first n tiles.
    taken: Vec<u64>,
    /// Bytes given back by the first n tiles.
    pub(super) freed: Vec<u64>,
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
}

/// When the engines are free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Clock {
    pub(super) compute: u64,
    pub(super) dma: u64,
}

impl<'a> Counts<'a> {
    pub(in crate::coschedule) fn new(npu: &Npu, lines: [&'a Line; 2]) -> Self {
        Self { lines, latency: npu.dram.latency_cycles, sram: npu.sram.bytes.get() }
    }

    /// The tiles of both jobs.
    pub(super) fn levels(&self) -> usize {
        self.lines[0].tiles.len() + self.lines[1].tiles.len()
    }

    /// The bytes that must have been given back before a job's next tile can be loaded; `None` where it has no next
    /// tile, or no room for it even when all tiles so far are done.
    pub(super) fn due(&self, at: [usize; 2], job: usize) -> Option<u64> {
        let [a, b] = self.lines;
        let tile = self.lines[job].tiles.get(at[job])?;
        let taken = a.taken[at[0]] + b.taken[at[1]] + tile.loaded_bytes;
        let has_room = taken + tile.begun_bytes <= self.freed(at) + self.sram;
        has_room.then(|| taken.saturating_sub(self.sram))
    }

    /// The bytes given back when `at` tiles are done.
    pub(super) fn freed(&self, at: [usize; 2]) -> u64 {
        self.lines[0].freed[at[0]] + self.lines[1].freed[at[1]]
    }

    /// Runs a tile whose space is there at `ready`.
    pub(super) fn run(&self, clock: Clock, tile: &Tile, ready: u64) -> Clock {
        match tile.has_load {
            false => Clock { compute: clock.compute + tile.compute, ..clock },
            true => {
                let dma = clock.dma.max(ready) + tile.load;
                Clock { compute: clock.compute.max(dma + self.latency) + tile.compute, dma }
            }
        }
    }

    /// No order of the tiles that are left is done earlier, by the sums alone.
    pub(super) fn least(&self, at: [usize; 2], clock: Clock) -> u64 {
        let sum = |of: fn(&Line) -> &Vec<u64>| of(self.lines[0])[at[0]] + of(self.lines[1])[at[1]];
        let compute = clock.compute + sum(|line| &line.compute_left);
        compute.max(clock.dma + sum(|line| &line.loads_left)) + self.least_tail()
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
            taken: vec![0],
            freed: vec![0],
            compute_left: vec![0; count + 1],
            loads_left: vec![0; count + 1],
            tail: 0,
        };
        let (mut taken, mut freed) = (0, 0);
        let of_request: Vec<(Tile, u64)> = chain
            .tiles
            .iter()
            .map(|tile| {
                let of_tile = Tile {
                    has_load: !tile.loads.is_empty(),
                    load: tile.load_cycles.get(),
                    compute: tile.cycles.get(),
                    loaded_bytes: bytes(&tile.loads),
                    begun_bytes: bytes(&tile.begins),
                };
                (of_tile, bytes(&tile.ends))
            })
            .collect();
        for &(tile, ends) in (0..requests).flat_map(|_| &of_request) {
            taken += tile.loaded_bytes + tile.begun_bytes;
            freed += ends;
            line.tiles.push(tile);
            line.taken.push(taken);
            line.freed.push(freed);
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
