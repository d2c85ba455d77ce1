//! The least that is left after some tiles of each job, by recursion from the end: SRAM aside here, with it in `lattice`.
//!
//! `J(i, j)`: the least time from the moment the DMA engine is free, if compute has no backlog, to the end of all tiles
//! but the first i of A and j of B; `R(i, j)`: their compute. From DMA free at u and compute free at v the end is no
//! earlier than `max(v + R, u + J)`, and for unlimited SRAM some order reaches that:
//!
//! ```text
//! J(end) = 0
//! J(i, j) = min over the next tile t of either job of
//!           without a load: J'        with a load: load(t) + max(latency + R(i, j), J')
//! ```
//!
//! where J' is J after t. At (0, 0) it is the bound that Johnson's rule gives on composite blocks.

use super::counts::{Clock, Counts};
use super::lattice::Lattice;

/// More cells than this are not tabulated: the bound of sums takes their place.
const MOST_CELLS: usize = 4 << 20;

/// The table, or without it a weaker bound; and what the scratchpad lets pass.
pub(in crate::coschedule) struct Ahead<'a> {
    counts: &'a Counts<'a>,
    /// J by `i · (tiles of B + 1) + j`.
    table: Option<Vec<u64>>,
    lattice: Option<Lattice<'a>>,
}

impl<'a> Ahead<'a> {
    pub(super) fn new(counts: &'a Counts<'a>, limit: u64) -> Self {
        let [a, b] = counts.lines.map(|line| line.tiles.len() + 1);
        let table = (a.saturating_mul(b) <= MOST_CELLS).then(|| tabulate(counts));
        Self { counts, table, lattice: Lattice::new(counts, limit) }
    }

    /// No order of all tiles takes less.
    pub(super) fn bound(&self) -> u64 {
        let by_lattice = self.lattice.as_ref().map_or(0, Lattice::bound);
        let by_table =
            self.table.as_ref().and_then(|table| table.first()).map_or(0, |&all| all + self.counts.least_tail());
        by_lattice.max(by_table)
    }

    /// No order of the tiles that are left is done earlier, `job`'s having been the last.
    pub(super) fn least(&self, at: [usize; 2], job: usize, clock: Clock) -> u64 {
        let columns = self.counts.lines[1].tiles.len() + 1;
        let by_table = |table: &Vec<u64>| clock.dma + table[at[0] * columns + at[1]] + self.counts.least_tail();
        let by_table = self.table.as_ref().map_or(0, by_table);
        let by_lattice = self.lattice.as_ref().map_or(0, |lattice| lattice.least(at, job, clock));
        self.counts.least(at, clock).max(by_table).max(by_lattice)
    }
}

fn tabulate(counts: &Counts) -> Vec<u64> {
    let [a, b] = counts.lines;
    let columns = b.tiles.len() + 1;
    let mut table = vec![0; (a.tiles.len() + 1) * columns];
    for i in (0..=a.tiles.len()).rev() {
        for j in (0..columns).rev() {
            let left = counts.latency + a.compute_left[i] + b.compute_left[j];
            let after = |tile: Option<&super::counts::Tile>, cell: usize| {
                let tile = tile?;
                let then: u64 = table[cell];
                Some(if tile.has_load { tile.load + left.max(then) } else { then })
            };
            let cell = i * columns + j;
            let of_a = after(a.tiles.get(i), cell + columns);
            let of_b = after(b.tiles.get(j), cell + 1);
            table[cell] = of_a.into_iter().chain(of_b).min().unwrap_or(0);
        }
    }
    table
}
