//! Small chains for tests, by hand and at random.

use proptest::prelude::*;

use super::chain::{Chain, ChainTile, Slot, SlotId};
use crate::ir::{IdVec, LayerId, NdBox, Op, TensorId};
use crate::npu::{Npu, named};
use crate::units::{Bytes, Cycles};

/// What a tile loads and computes, and what it leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plain {
    /// Bytes and cycles of its load, if it has one.
    pub(super) load: Option<(u64, u64)>,
    pub(super) compute: u64,
    /// Bytes of what it writes, 0 for nothing, and how many tiles later that is used the last.
    pub(super) leaves: (u64, usize),
    /// Cycles of a store of what it leaves.
    pub(super) store: Option<u64>,
}

/// A chain of such tiles.
pub(super) fn chain(tiles: &[Plain]) -> Chain {
    let mut slots: IdVec<SlotId, Slot> = IdVec::new();
    let mut slot = |bytes: u64, tiles: usize| {
        let (part, bytes) = (NdBox::whole([bytes]), Bytes(bytes));
        slots.push(Slot { tensor: TensorId(0), part, element_bits: 8, bytes, sources: Vec::new(), tiles })
    };
    let mut made: Vec<ChainTile> = Vec::new();
    let mut ends: Vec<Vec<SlotId>> = vec![Vec::new(); tiles.len()];
    for (i, plain) in tiles.iter().enumerate() {
        let mut tile = ChainTile::new(LayerId(0), Op::Measured, NdBox::whole([1]), Cycles(plain.compute));
        if let Some((bytes, cycles)) = plain.load {
            let weight = slot(bytes, 1);
            (tile.loads, tile.reads) = (vec![weight], vec![weight]);
            (tile.load_bytes, tile.load_cycles) = (Bytes(bytes), Cycles(cycles));
            ends[i].push(weight);
        }
        let (bytes, later) = plain.leaves;
        if bytes > 0 {
            let output = slot(bytes, later + 1);
            (tile.begins, tile.writes) = (vec![output], vec![output]);
            tile.stores = plain.store.map(|cycles| (output, Cycles(cycles))).into_iter().collect();
            ends[(i + later).min(tiles.len() - 1)].push(output);
        }
        made.push(tile);
    }
    for (tile, ends) in made.iter_mut().zip(ends) {
        tile.ends = ends;
    }
    Chain { slots, tiles: made }
}

/// An NPU of so much SRAM, in whole bytes, with this latency; its channel moves a byte a cycle.
pub(super) fn npu(sram: u64, latency: u64) -> Npu {
    let mut npu = named("paper-like").expect("built in");
    (npu.sram.bytes, npu.sram.alignment_bytes, npu.dram.latency_cycles) = (Bytes(sram), Bytes(1), latency);
    npu.dram.bytes_per_second = npu.clock_hz;
    npu
}

/// The same, its channel so fast that no load is too short for its bytes.
pub(super) fn fast(mut npu: Npu) -> Npu {
    npu.dram.bytes_per_second *= 8;
    npu
}

/// Up to so many tiles of small figures.
pub(super) fn any_tiles(most: usize) -> impl Strategy<Value = Vec<Plain>> {
    let load = (1..9u64, prop::option::of(1..12u64)).prop_map(|(bytes, cycles)| (bytes, cycles.unwrap_or(bytes)));
    let load = prop::option::weighted(0.8, load);
    let leaves = (prop_oneof![2 => Just(0), 1 => 1..5u64], 0..3usize);
    let store = prop::option::weighted(0.3, 1..4u64);
    let tile = (load, 0..12u64, leaves, store).prop_map(|(load, compute, leaves, store)| Plain {
        load,
        compute,
        leaves,
        store,
    });
    prop::collection::vec(tile, 1..=most)
}
