//! The policies: which job's tile comes next.

use super::chain::Chain;
use super::machine::{Machine, NoRoom, Step};
use super::plan::{Plan, Recorder};
use crate::npu::Npu;
use crate::units::Cycles;

/// In which order the tiles of several jobs are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// One job after the other: the baseline.
    Serial,
    /// In turn, in proportion to the jobs' tiles.
    RoundRobin,
    /// Layerweaver's (HPCA 2021): the tile that leaves the engines idle the least.
    Greedy,
}

impl Policy {
    /// All policies, the baseline first.
    pub const ALL: [Self; 3] = [Self::Serial, Self::RoundRobin, Self::Greedy];

    /// As the command line and the schedule file call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::RoundRobin => "round-robin",
            Self::Greedy => "greedy",
        }
    }
}

/// What runs, and on what.
#[derive(Clone, Copy)]
pub(super) struct Race<'a> {
    pub(super) npu: &'a Npu,
    pub(super) chains: &'a [&'a Chain],
    pub(super) requests: &'a [u32],
    /// The jobs by precedence: serial's order, and who is first where a policy finds no difference.
    pub(super) order: &'a [usize],
}

impl Race<'_> {
    /// The cycles that a policy takes.
    pub(super) fn cycles(&self, policy: Policy) -> Result<Cycles, NoRoom> {
        self.run(policy, |_| ()).map(|(_, cycles)| cycles)
    }

    /// The plan that a policy makes.
    pub(super) fn plan(&self, policy: Policy) -> Result<Plan, NoRoom> {
        let mut recorder = Recorder::new(self.chains);
        let (unstored, _) = self.run(policy, |step| recorder.step(step))?;
        recorder.store(unstored);
        Ok(recorder.finish())
    }

    fn run(&self, policy: Policy, mut each: impl FnMut(&Step)) -> Result<(usize, Cycles), NoRoom> {
        let mut machine = Machine::new(self.npu, self.chains, self.requests);
        while let Some(step) = self.next(policy, &machine)? {
            each(&step);
            machine.take(step);
        }
        Ok(machine.finish())
    }

    /// The next step; `None` when all is done.
    fn next(&self, policy: Policy, machine: &Machine) -> Result<Option<Step>, NoRoom> {
        let mut jobs = self.order.iter().copied().filter(|&job| machine.has_next(job));
        match policy {
            Policy::Serial => jobs.next().map(|job| machine.probe(job)).transpose(),
            Policy::RoundRobin => {
                let mut jobs: Vec<usize> = jobs.collect();
                // (done + 1) / all, compared by cross products; the sort is stable.
                jobs.sort_by(|&a, &b| {
                    let ((a_done, a_all), (b_done, b_all)) = (machine.progress(a), machine.progress(b));
                    let cross = |done: u64, all: u64| u128::from(done + 1) * u128::from(all);
                    cross(a_done, b_all).cmp(&cross(b_done, a_all))
                });
                first_that_fits(jobs.into_iter().map(|job| machine.probe(job)))
            }
            Policy::Greedy => {
                let mut steps: Vec<_> = jobs.map(|job| machine.probe(job)).collect();
                steps.sort_by_key(|step| step.as_ref().map_or((Cycles(u64::MAX), 0), |step| self.greed(step)));
                first_that_fits(steps.into_iter())
            }
        }
    }

    /// What greedy takes the least of: cycles in which an engine has to wait; and, where both tiles leave the same,
    /// which is the rule while the DMA engine is ahead, compute less load. So the tile that loads the most is taken for
    /// as long as there is compute to hide it, and the one that computes the most when there is none.
    fn greed(&self, step: &Step) -> (Cycles, i128) {
        let tile = &self.chains[step.job].tiles[step.tile];
        let surplus = i128::from(tile.cycles.get()) - i128::from(tile.load_cycles.get());
        (step.compute_idle + step.dma_idle, surplus)
    }
}

/// The first step that has room; where none has, why the first has not.
fn first_that_fits(mut steps: impl Iterator<Item = Result<Step, NoRoom>>) -> Result<Option<Step>, NoRoom> {
    match steps.next() {
        None => Ok(None),
        Some(Ok(step)) => Ok(Some(step)),
        Some(Err(why)) => steps.find_map(Result::ok).map(Some).ok_or(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coschedule::chain::{ChainTile, Slot};
    use crate::ir::{IdVec, LayerId, NdBox, Op, TensorId};
    use crate::npu::named;
    use crate::units::Bytes;

    /// A chain of tiles (bytes and cycles of the load, cycles of the tile), each with a weight of its own.
    fn chain(tiles: &[(u64, u64, u64)]) -> Chain {
        let mut slots = IdVec::new();
        let tiles = tiles.iter().map(|&(bytes, load, compute)| {
            let part = NdBox::whole([bytes]);
            let (tensor, bytes) = (TensorId(0), Bytes(bytes));
            let slot = slots.push(Slot { tensor, part, element_bits: 8, bytes, over: None, sources: Vec::new() });
            let mut tile = ChainTile::new(LayerId(0), Op::Measured, NdBox::whole([1]), Cycles(compute));
            (tile.loads, tile.reads, tile.ends) = (vec![slot], vec![slot], vec![slot]);
            (tile.load_bytes, tile.load_cycles) = (bytes, Cycles(load));
            tile
        });
        let tiles = tiles.collect();
        Chain { slots, tiles }
    }

    /// The jobs in the order in which a policy takes their tiles, and the cycles.
    fn order(policy: Policy, sram: u64, a: &[(u64, u64, u64)], b: &[(u64, u64, u64)]) -> (String, u64) {
        let mut npu = named("paper-like").unwrap();
        (npu.sram.bytes, npu.sram.alignment_bytes, npu.dram.latency_cycles) = (Bytes(sram), Bytes(1), 0);
        let (a, b) = (chain(a), chain(b));
        let race = Race { npu: &npu, chains: &[&a, &b], requests: &[1, 1], order: &[0, 1] };
        let mut taken = String::new();
        let (_, cycles) = race.run(policy, |step| taken.push(['A', 'B'][step.job])).unwrap();
        (taken, cycles.get())
    }

    /// A computes (load 10, tile 40), B loads (30, 10). Empty, A leaves compute idle for 10 and B for 30: A. Then the
    /// DMA engine is at 10, compute at 50: neither leaves any idle, and B loads the more: B, to 40 and 60. A's load
    /// would end at 50, B's at 70, 10 too late: A, to 50 and 100. B, to 80 and 110.
    #[test]
    fn greedy_spends_its_backlog_on_loads() {
        let (a, b) = ([(1, 10, 40); 2], [(1, 30, 10); 2]);
        assert_eq!(order(Policy::Greedy, 100, &a, &b), ("ABAB".into(), 110));
        assert_eq!(order(Policy::Serial, 100, &a, &b), ("AABB".into(), 110));
    }

    /// A naive greedy would now be serial: after A's first tile no choice leaves anything idle, so only the tie-break
    /// makes it weave. Serial: A A A to (30, 160), then B B B loads to 180 with compute at 170, 180, 190. Woven: A to
    /// (10, 60), B to (60, 70), then A's load ends at 70: no idle, and B's at 110: 40 idle; A to (70, 120), B to
    /// (120, 130), A to (130, 180), B to (180, 190).
    #[test]
    fn the_tie_break_is_the_algorithm() {
        let (a, b) = ([(1, 10, 50); 3], [(1, 50, 10); 3]);
        assert_eq!(order(Policy::Greedy, 100, &a, &b).0, "ABABAB");
        assert_eq!(order(Policy::Serial, 100, &a, &b), ("AAABBB".into(), 190));
        assert_eq!(order(Policy::Greedy, 100, &a, &b).1, 190);
    }

    /// With room for two loads of 50: after A A (DMA at 20, tiles done at 50 and 90), B's load of 50 must wait for the
    /// first tile, until 50, and is there at 60.
    #[test]
    fn a_load_waits_for_space() {
        let (a, b) = ([(50, 10, 40); 2], [(50, 10, 5); 1]);
        assert_eq!(order(Policy::Serial, 100, &a, &b), ("AAB".into(), 95));
        assert_eq!(order(Policy::Serial, 50, &a, &b).1, 10 + 40 + 10 + 40 + 10 + 5);
    }

    /// Three tiles against one: (0 + 1) / 3 before (0 + 1) / 1, (1 + 1) / 3, then (2 + 1) / 3 = 1 / 1: the first job.
    #[test]
    fn round_robin_is_proportional() {
        let (a, b) = ([(1, 1, 1); 3], [(1, 1, 1); 1]);
        assert_eq!(order(Policy::RoundRobin, 100, &a, &b).0, "AAAB");
        assert_eq!(order(Policy::RoundRobin, 100, &b, &a).0, "BBAB");
    }
}
