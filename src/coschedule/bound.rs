//! Lower bounds on the cycles of any schedule of given chains of tiles.
//!
//! Relaxed to unlimited SRAM, the problem is a flow shop of two machines, DMA and then compute, with a chain for each
//! job and a lag between the machines, the DRAM's latency: `F2 | chains, l | Cmax`. Johnson's rule, on jobs with lags
//! (Mitten 1959) and on composite jobs for chains (Kurisu 1976, Monma and Sidney 1979), solves it exactly, so its
//! optimum bounds every schedule. That a schedule's DMA order may differ from its compute order does not matter: given
//! any schedule, loading in the order of the compute commands delays none of them.

use std::cmp::Ordering;

use super::chain::{Chain, ChainTile};
use crate::analysis::LayerFloor;
use crate::cost;
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

/// Loading nothing, a tile waits for no transfer. Below every sum of cycles, and far from the ends of `i128`.
const NEVER: i128 = -(1 << 100);

/// A sequence of tiles as one: run from (DMA free at u, compute free at v) it leaves `u + dma` and
/// `max(v + compute, u + span)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    dma: i128,
    compute: i128,
    /// The longest way through loads, one latency, and the tiles from there on.
    span: i128,
}

impl Block {
    const EMPTY: Self = Self { dma: 0, compute: 0, span: NEVER };

    pub(super) fn tile(load: Option<Cycles>, compute: Cycles, latency: Cycles) -> Self {
        let compute = i128::from(compute.get());
        match load {
            None => Self { dma: 0, compute, span: NEVER },
            Some(load) => {
                let dma = i128::from(load.get());
                Self { dma, compute, span: dma + i128::from(latency.get()) + compute }
            }
        }
    }

    pub(super) fn then(self, next: Self) -> Self {
        Self {
            dma: self.dma + next.dma,
            compute: self.compute + next.compute,
            span: (self.span + next.compute).max(self.dma + next.span),
        }
    }

    /// The time from (0, 0) on.
    fn makespan(self) -> Cycles {
        Cycles(u64::try_from(self.compute.max(self.span)).expect("sums of bounded cycles"))
    }

    /// What the first machine needs before the second can run through, and what the second has left when the first is
    /// done: the two times of Johnson's rule.
    fn head_and_tail(self) -> (i128, i128) {
        (self.span - self.compute, self.span - self.dma)
    }

    /// Johnson's order, `min(head, other's tail) ≤ min(other's head, tail)`, as a total preorder: first the blocks with
    /// head < tail, by head; then the others, by falling tail.
    pub(super) fn cmp(self, other: Self) -> Ordering {
        let key = |block: Self| {
            let (head, tail) = block.head_and_tail();
            if head < tail { (0, head) } else { (1, -tail) }
        };
        key(self).cmp(&key(other))
    }
}

/// What the bounds need of a chain, worked out once: requests are repeated lazily.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    /// The composite blocks of all its requests, in Johnson's order.
    blocks: Vec<Block>,
    /// The same without the last tile.
    but_last: Vec<Block>,
    last: Block,
    /// All tiles in a row.
    whole: Block,
    /// Cycles of all its stores.
    stores: Cycles,
    /// After its last tile: the stores that only that one completes, and the latency.
    tail: Cycles,
    /// The least and the most, over its tiles, of what it has computed by then and has to load from then on, and of what
    /// it holds then as if that were to be loaded too.
    passing: (Cycles, Cycles),
    /// By how much its loads take longer than their bytes at the channel's full rate, together.
    excess: Cycles,
}

impl Outline {
    pub(super) fn new(npu: &Npu, chain: &Chain, requests: u32) -> Self {
        let latency = Cycles(npu.dram.latency_cycles);
        let of_tile = |tile: &ChainTile| {
            let load = (!tile.loads.is_empty()).then_some(tile.load_cycles);
            Block::tile(load, tile.cycles, latency)
        };
        let of_request: Vec<Block> = chain.tiles.iter().map(of_tile).collect();
        let all = of_request.len() * requests as usize;
        let tiles = || of_request.iter().copied().cycle();
        let but_last = composite(tiles().take(all.saturating_sub(1)));
        let last = of_request.last().copied().unwrap_or(Block::EMPTY);
        let mut blocks = but_last.clone();
        join(&mut blocks, last);
        let whole = tiles().take(all).fold(Block::EMPTY, Block::then);
        let stores = chain.tiles.iter().flat_map(|tile| &tile.stores);
        let stores: Cycles = stores.map(|&(_, cycles)| cycles).sum();
        let final_stores = chain.tiles.last().map_or(&[][..], |tile| &tile.stores);
        let tail = final_stores.iter().map(|&(_, cycles)| cycles).sum::<Cycles>();
        let tail = if final_stores.is_empty() { tail } else { tail + latency };
        let passing = passing(npu, chain, requests);
        let excess = chain.tiles.iter().map(|tile| tile.load_cycles.saturating_sub(full_rate(npu, tile.load_bytes)));
        let excess = excess.sum::<Cycles>() * u64::from(requests);
        Self { blocks, but_last, last, whole, stores: stores * u64::from(requests), tail, passing, excess }
    }
}

/// The least and the most of `computed by the first k tiles + loads of the others + loads of what is held then`, over
/// all k. It changes by the same from request to request, so its ends lie in the first or in the last.
fn passing(npu: &Npu, chain: &Chain, requests: u32) -> (Cycles, Cycles) {
    let loads: Cycles = chain.tiles.iter().map(|tile| tile.load_cycles).sum();
    let compute: Cycles = chain.tiles.iter().map(|tile| tile.cycles).sum();
    let others = u64::from(requests.saturating_sub(1));
    let ends = [loads * others, compute * others].map(|beside| {
        let mut now = beside + loads;
        let (mut least, mut most) = (now, now);
        for (tile, held) in chain.tiles.iter().zip(chain.left_after()) {
            now = now + tile.cycles - tile.load_cycles;
            let with_held = now + full_rate(npu, held);
            (least, most) = (least.min(with_held), most.max(with_held));
        }
        (least, most)
    });
    (ends[0].0.min(ends[1].0), ends[0].1.max(ends[1].1))
}

/// No transfer is said to take longer, so that sums of some fit.
const LONGEST: u64 = 1 << 60;

/// Cycles of bytes at the channel's full rate, rounded down.
fn full_rate(npu: &Npu, bytes: Bytes) -> Cycles {
    let (cycles, of_bytes) = npu.cycles_per_byte();
    let cycles = u128::from(bytes.get()) * cycles / of_bytes;
    Cycles(u64::try_from(cycles).unwrap_or(LONGEST).min(LONGEST))
}

/// A chain as composite blocks, in Johnson's order.
fn composite(tiles: impl Iterator<Item = Block>) -> Vec<Block> {
    let mut blocks = Vec::new();
    tiles.for_each(|tile| join(&mut blocks, tile));
    blocks
}

/// Adds a chain's next tile: a tile that should go before its predecessor goes right after it, as one composite job.
fn join(blocks: &mut Vec<Block>, mut block: Block) {
    while let Some(before) = blocks.pop_if(|before| block.cmp(*before) == Ordering::Less) {
        block = before.then(block);
    }
    blocks.push(block);
}

/// The flow shop's best order of chains of blocks, as one block.
fn weave<'a>(chains: impl Iterator<Item = &'a Vec<Block>>) -> Block {
    let mut blocks: Vec<Block> = chains.flatten().copied().collect();
    // The sort is stable, and each chain's blocks are in order already.
    blocks.sort_by(|a, b| a.cmp(*b));
    blocks.into_iter().fold(Block::EMPTY, Block::then)
}

/// A lower bound for these tiles and layer order, under any order of commands.
///
/// The largest of: for the job that is the last to compute, whichever suits best, the flow shop's optimum with its last
/// tile at the end, and what it has to store after that; all transfers one after the other, and one latency; each job
/// alone; what the scratchpad lets pass.
///
/// The last is this. When the k-th tile of a job is done, that much of it has been computed, and of the other job as
/// much as belongs to the j tiles that it has done. Of the loads for all other tiles no more can have been begun than
/// the scratchpad has room for beside what both jobs hold then, and the rest comes after. So the end is no earlier than
/// `C(k) + C'(j) + D(k) + D'(j)` less the longest loads that fill that room, for every k and, as it is not known, the j
/// for which that is the least.
pub(super) fn of_tiles(npu: &Npu, jobs: &[&Outline]) -> Cycles {
    let ending_with = |last: usize| {
        let chains = jobs.iter().enumerate().map(|(i, job)| if i == last { &job.but_last } else { &job.blocks });
        weave(chains).then(jobs[last].last).makespan() + jobs[last].tail
    };
    let woven = (0..jobs.len()).map(ending_with).min().unwrap_or_default();
    let alone = jobs.iter().map(|job| job.whole.makespan() + job.tail).max().unwrap_or_default();
    let loads = Cycles(jobs.iter().map(|job| u64::try_from(job.whole.dma).expect("bounded")).sum());
    let transfers = loads + jobs.iter().map(|job| job.stores).sum();
    let transfers = if transfers > Cycles::ZERO { transfers + Cycles(npu.dram.latency_cycles) } else { transfers };
    woven.max(alone).max(transfers).max(of_space(npu, jobs))
}

/// What the scratchpad lets pass: see [`of_tiles`].
fn of_space(npu: &Npu, jobs: &[&Outline]) -> Cycles {
    let excess: Cycles = jobs.iter().map(|job| job.excess).sum();
    let filling = full_rate(npu, npu.sram.bytes);
    if filling >= Cycles(LONGEST) {
        return Cycles::ZERO;
    }
    let filling = filling + Cycles(1) + excess;
    let tail = least_tail(jobs);
    let passing = |most_of: usize| -> Cycles {
        let of_job = |(i, job): (usize, &&Outline)| if i == most_of { job.passing.1 } else { job.passing.0 };
        jobs.iter().enumerate().map(of_job).sum()
    };
    let passing = (0..jobs.len()).map(passing).max().unwrap_or_default();
    if passing > filling { passing - filling + tail } else { Cycles::ZERO }
}

/// What is stored after the last tile, whichever job's that is.
pub(super) fn least_tail(jobs: &[&Outline]) -> Cycles {
    jobs.iter().map(|job| job.tail).min().unwrap_or_default()
}

/// What jobs take one after the other, in this order, with unlimited SRAM.
pub(super) fn of_serial<'a>(jobs: impl Iterator<Item = &'a Outline>) -> Cycles {
    jobs.map(|job| job.whole).fold(Block::EMPTY, Block::then).makespan()
}

/// A lower bound for the layers of jobs, each so many times in a row, however they are tiled: the flow shop's optimum,
/// each layer cut into what it computes and then what it loads. Less cannot be asked: a layer's last tile, and so all of
/// the next layer, waits for all its loads. Of pieces without a load, or without compute, Johnson's rule takes those of a
/// layer one after the other, so cutting them further gains nothing.
pub(super) fn of_layers(npu: &Npu, jobs: &[(&[LayerFloor], u32)]) -> Cycles {
    let latency = Cycles(npu.dram.latency_cycles);
    let pieces = |layer: &LayerFloor| {
        let loads = (layer.loads > Bytes::ZERO).then(|| full_rate(npu, layer.loads));
        let loads = loads.map(|loads| Block::tile(Some(loads), Cycles::ZERO, latency));
        std::iter::once(Block::tile(None, layer.compute, latency)).chain(loads)
    };
    let chain = |&(layers, requests): &(&[LayerFloor], u32)| {
        let of_request: Vec<Block> = layers.iter().flat_map(pieces).collect();
        composite((0..requests).flat_map(|_| of_request.iter().copied()))
    };
    weave(jobs.iter().map(chain).collect::<Vec<_>>().iter()).makespan()
}

/// A lower bound under any tiling, spilling and order: what compute and the DRAM channel must do at least.
pub(super) fn floor(npu: &Npu, compute: Cycles, dram: Bytes) -> Cycles {
    match dram {
        Bytes::ZERO => compute,
        dram => compute.max(cost::transfer_cycles(npu, dram) + Cycles(npu.dram.latency_cycles)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By hand: A (3, 1) then (1, 4), B (2, 2), latency 0. In A the second tile precedes the first (head 1 < tail 4),
    /// so they are one block: dma 4, compute 5, span max(3 + 5, 4 + 4) = 8, head 3, tail 4. B: span 4, head 2, tail 2,
    /// not head < tail: after A. dma 6, compute 7, span max(8 + 2, 4 + 4) = 10. B first: max(4 + 5, 2 + 8) = 10.
    #[test]
    fn composite_jobs_by_hand() {
        let tile = |load, compute| Block::tile(Some(Cycles(load)), Cycles(compute), Cycles(0));
        let a = tile(3, 1).then(tile(1, 4));
        assert_eq!(a, Block { dma: 4, compute: 5, span: 8 });
        assert_eq!(a.then(tile(2, 2)).makespan(), Cycles(10));
        assert_eq!(tile(2, 2).then(a).makespan(), Cycles(10));
        assert_eq!(woven([&[tile(3, 1), tile(1, 4)], &[tile(2, 2)]]), Cycles(10));
    }

    fn woven(chains: [&[Block]; 2]) -> Cycles {
        weave(chains.map(|tiles| composite(tiles.iter().copied())).iter()).makespan()
    }

    /// The least makespan over all interleavings, by trying each.
    fn exhaustive(a: &[Block], b: &[Block], so_far: Block) -> Cycles {
        let with = |rest: &[Block], other: &[Block], swap: bool| {
            let (first, rest) = rest.split_first()?;
            let so_far = so_far.then(*first);
            Some(if swap { exhaustive(other, rest, so_far) } else { exhaustive(rest, other, so_far) })
        };
        match (with(a, b, false), with(b, a, true)) {
            (None, None) => so_far.makespan(),
            (x, y) => x.into_iter().chain(y).min().expect("one of them is there"),
        }
    }

    fn any_chain() -> impl Strategy<Value = Vec<Block>> {
        let tile = (0..9u64, 0..9u64, 0..4u64).prop_map(|(load, compute, lag)| {
            Block::tile((load > 0).then_some(Cycles(load)), Cycles(compute), Cycles(lag))
        });
        prop::collection::vec(tile, 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn johnson_on_composite_jobs_is_the_optimum(a in any_chain(), b in any_chain()) {
            prop_assert_eq!(woven([&a, &b]), exhaustive(&a, &b, Block::EMPTY));
        }
    }
}
