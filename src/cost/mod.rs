//! What a box of a layer costs on an NPU: cycles of a compute command, cycles of a transfer.
//!
//! All formulas are the machine model's of DESIGN.md, "What a matrix product costs". A cost that leaves `u64` is
//! `u64::MAX` cycles; `analysis` refuses a layer that comes anywhere near.

mod floor;
mod product;

pub use floor::compute_floor;
pub use product::{Product, ProductCost, Stream, accumulated_bytes, operand_bits, product_cost, product_cycles};

use crate::ir::{Layer, Model, NdBox, Op};
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

/// Cycles that a transfer of `bytes` occupies the DRAM channel; the data are there `latency_cycles` later.
pub fn transfer_cycles(npu: &Npu, bytes: Bytes) -> Cycles {
    transfer_cost(npu, bytes).cycles
}

/// What a transfer moves, and how long that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferCost {
    /// Whole bursts.
    pub bursts: u64,
    /// Cycles on the DRAM channel.
    pub cycles: Cycles,
}

/// The cost of a transfer of `bytes`.
///
/// Formula: `setup + ⌈⌈bytes / burst⌉ · burst · clock · 1000 / (bytes_per_second · efficiency_permille)⌉`.
pub fn transfer_cost(npu: &Npu, bytes: Bytes) -> TransferCost {
    let dram = &npu.dram;
    let bursts = bytes.get().div_ceil(dram.burst_bytes);
    let whole_bursts = u128::from(bursts) * u128::from(dram.burst_bytes);
    let (cycles, bytes) = npu.cycles_per_byte();
    let busy = (whole_bursts * cycles).div_ceil(bytes);
    TransferCost { bursts, cycles: saturate(busy + u128::from(dram.setup_cycles)) }
}

/// Cycles of one compute command over a box of the iterations of a model's gemm or vector layer. `last` says whether it
/// is the layer's last command in its request, which alone waits for a double-buffered array to drain.
///
/// Formula of a vector box of e points: `⌈e · lane_operations / lanes⌉ + command_cycles`; of a product see
/// [`product_cycles`]. A measured layer's tiles have no cost of their own: see [`measured_share`].
pub fn compute_cycles(npu: &Npu, model: &Model, layer: &Layer, part: &NdBox, last: bool) -> Cycles {
    match layer.op {
        Op::Gemm => product_cycles(npu, Product::of(model, layer, part), last),
        Op::Vector | Op::Measured => {
            let operations = u128::from(part.volume()) * u128::from(layer.lane_operations);
            let cycles = operations.div_ceil(u128::from(npu.vector.lanes));
            saturate(cycles + u128::from(npu.command_cycles))
        }
    }
}

/// The shares of a measured layer's cycles among boxes of these volumes: in proportion, and summing exactly, the
/// largest remainders rounded up (the earlier box first where they are equal).
pub fn measured_shares(cycles: Cycles, volumes: &[u64]) -> Vec<Cycles> {
    let whole: u128 = volumes.iter().map(|&v| u128::from(v)).sum::<u128>().max(1);
    let exact = |volume: u64| u128::from(cycles.get()) * u128::from(volume);
    let mut shares: Vec<u128> = volumes.iter().map(|&v| exact(v) / whole).collect();
    let mut by_remainder: Vec<usize> = (0..volumes.len()).collect();
    by_remainder.sort_by_key(|&i| (std::cmp::Reverse(exact(volumes[i]) % whole), i));
    let missing = u128::from(cycles.get()) - shares.iter().sum::<u128>();
    for &i in by_remainder.iter().take(usize::try_from(missing).unwrap_or(usize::MAX)) {
        shares[i] += 1;
    }
    shares.into_iter().map(saturate).collect()
}

fn saturate(cycles: u128) -> Cycles {
    Cycles(u64::try_from(cycles).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npu::named;

    /// 300 GB/s at 940 MHz is 319.15 bytes a cycle: 2304 bytes are 36 bursts and 7.2192 cycles, rounded up; one byte
    /// moves a whole burst of 64 in 0.2 cycles.
    #[test]
    fn transfers_are_rounded_up_to_bursts_and_cycles() {
        let mut npu = named("paper-like").unwrap();
        assert_eq!(transfer_cycles(&npu, Bytes(2304)), Cycles(8));
        assert_eq!(transfer_cycles(&npu, Bytes(1)), Cycles(1));
        npu.dram.setup_cycles = 5;
        npu.dram.efficiency_permille = 500;
        assert_eq!(transfer_cycles(&npu, Bytes(2304)), Cycles(20));
    }

    /// 10 cycles over volumes 1, 1, 2, 3 of 7: 1.43, 1.43, 2.86, 4.29; the two largest remainders (.86, then the
    /// first .43) get the two that are missing.
    #[test]
    fn shares_sum_exactly() {
        assert_eq!(measured_shares(Cycles(10), &[1, 1, 2, 3]), [2, 1, 3, 4].map(Cycles));
        assert_eq!(measured_shares(Cycles(0), &[5, 5]), [0, 0].map(Cycles));
    }
}
