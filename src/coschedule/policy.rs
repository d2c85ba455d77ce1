//! The policies: which job's tile comes next.

use super::chain::{Chain, ChainTile};
use super::machine::{Machine, NoRoom, Step, Style};
use super::placing::Addresses;
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
    /// Layerweaver's (HPCA 2021): the tile that leaves the engines idle the least; at ties, which are the rule while the
    /// DMA engine is ahead, in turn.
    Greedy,
    /// The best of all these and of a search, which ends where a lower bound says that nothing is better.
    Optimal,
}

impl Policy {
    /// All policies, the baseline first.
    pub const ALL: [Self; 4] = [Self::Serial, Self::RoundRobin, Self::Greedy, Self::Optimal];

    /// As the command line and the schedule file call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::RoundRobin => "round-robin",
            Self::Greedy => "greedy",
            Self::Optimal => "optimal",
        }
    }
}

/// How the next tile is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Serial,
    RoundRobin,
    Greedy,
    /// The jobs in the order in which their tiles come; where a tile has no room yet, the other job's comes first.
    Order(Vec<u8>),
    /// The same, each stay put where it is said; here no other job's tile comes first.
    Placed(Vec<u8>, Addresses),
}

impl Way {
    /// Whether all of one job comes before the other.
    pub(super) fn is_serial(&self) -> bool {
        let changes = |jobs: &[u8]| jobs.windows(2).filter(|pair| pair[0] != pair[1]).count();
        *self == Self::Serial || self.jobs().is_some_and(|jobs| changes(jobs) <= 1)
    }

    /// The jobs in the order of their tiles, where that is given.
    pub(super) fn jobs(&self) -> Option<&[u8]> {
        match self {
            Self::Serial | Self::RoundRobin | Self::Greedy => None,
            Self::Order(jobs) | Self::Placed(jobs, _) => Some(jobs),
        }
    }
}

/// What runs, and on what.
#[derive(Clone)]
pub(super) struct Race<'a> {
    pub(super) npu: &'a Npu,
    pub(super) chains: Vec<&'a Chain>,
    pub(super) requests: &'a [u32],
    /// The jobs by precedence: serial's order, and who is first where a policy finds no difference.
    pub(super) order: &'a [usize],
}

impl Race<'_> {
    /// The cycles that it takes, if less than a limit.
    pub(super) fn cycles(&self, way: &Way, style: Style, limit: Option<Cycles>) -> Result<Option<Cycles>, NoRoom> {
        self.run(way, style, limit, |_| ()).map(|done| done.map(|(_, cycles)| cycles))
    }

    /// The plan that comes of it.
    pub(super) fn plan(&self, way: &Way, style: Style) -> Result<Plan, NoRoom> {
        let mut recorder = Recorder::new(&self.chains);
        let done = self.run(way, style, None, |step| recorder.step(step))?;
        recorder.store(done.map_or(0, |(unstored, _)| unstored));
        Ok(recorder.finish())
    }

    /// The jobs in the order in which it takes their tiles.
    pub(super) fn jobs(&self, way: &Way, style: Style) -> Result<Vec<u8>, NoRoom> {
        let mut jobs = Vec::new();
        self.run(way, style, None, |step| jobs.push(u8::try_from(step.job).expect("two jobs")))?;
        Ok(jobs)
    }

    /// Runs all tiles; `None` as soon as it is sure to take as much as the limit.
    fn run(
        &self,
        way: &Way,
        style: Style,
        limit: Option<Cycles>,
        mut each: impl FnMut(&Step),
    ) -> Result<Option<(usize, Cycles)>, NoRoom> {
        let mut machine = Machine::new(self.npu, &self.chains, self.requests).with_style(style);
        if let Way::Placed(_, addresses) = way {
            machine = machine.with_addresses(addresses);
        }
        let (mut compute_left, mut loads_left) = (self.sum(|tile| tile.cycles), self.sum(|tile| tile.load_cycles));
        let mut level = 0;
        while let Some(step) = self.next(way, level, &mut machine)? {
            let tile = &self.chains[step.job].tiles[step.tile];
            (compute_left, loads_left) = (compute_left - tile.cycles, loads_left - tile.load_cycles);
            level += 1;
            each(&step);
            machine.take(step);
            let least = (machine.compute_free + compute_left).max(machine.dma_free + loads_left);
            if limit.is_some_and(|limit| limit <= least) {
                return Ok(None);
            }
        }
        let (unstored, cycles) = machine.finish();
        Ok(limit.is_none_or(|limit| cycles < limit).then_some((unstored, cycles)))
    }

    /// A sum over all tiles of all requests.
    fn sum(&self, of: impl Fn(&ChainTile) -> Cycles) -> Cycles {
        let of_job =
            |(chain, &requests): (&&Chain, &u32)| chain.tiles.iter().map(&of).sum::<Cycles>() * u64::from(requests);
        self.chains.iter().zip(self.requests).map(of_job).sum()
    }

    /// The next step; `None` when all is done.
    fn next(&self, way: &Way, level: usize, machine: &mut Machine) -> Result<Option<Step>, NoRoom> {
        let mut jobs: Vec<usize> = self.order.iter().copied().filter(|&job| machine.has_next(job)).collect();
        match way {
            Way::Serial => jobs.truncate(1),
            Way::Placed(order, _) => jobs.retain(|&job| order.get(level).is_some_and(|&next| usize::from(next) == job)),
            Way::RoundRobin | Way::Greedy => sort_by_turn(&mut jobs, machine),
            Way::Order(order) => jobs.sort_by_key(|&job| order.get(level).is_none_or(|&next| usize::from(next) != job)),
        }
        let steps = jobs.into_iter().map(|job| machine.probe(job));
        match way {
            Way::Serial | Way::RoundRobin | Way::Order(_) | Way::Placed(..) => first_that_fits(steps),
            Way::Greedy => {
                // The sort is stable: at ties the job comes first whose turn it is.
                let mut steps: Vec<_> = steps.collect();
                steps.sort_by_key(|step| {
                    step.as_ref().map_or(Cycles(u64::MAX), |step| step.compute_idle + step.dma_idle)
                });
                first_that_fits(steps.into_iter())
            }
        }
    }
}

/// Sorts jobs by how far they would be: in proportion to their tiles.
fn sort_by_turn(jobs: &mut [usize], machine: &Machine) {
    // (done + 1) / all, compared by cross products; the sort is stable.
    jobs.sort_by(|&a, &b| {
        let ((a_done, a_all), (b_done, b_all)) = (machine.progress(a), machine.progress(b));
        let cross = |done: u64, all: u64| u128::from(done + 1) * u128::from(all);
        cross(a_done, b_all).cmp(&cross(b_done, a_all))
    });
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
    use crate::coschedule::testing::{self, Plain, npu};

    /// A chain of tiles (bytes and cycles of the load, cycles of the tile), each with a weight of its own.
    fn chain(tiles: &[(u64, u64, u64)]) -> Chain {
        let plain = |&(bytes, load, compute): &(u64, u64, u64)| {
            let load = Some((bytes, load));
            Plain { load, compute, ..Plain::default() }
        };
        testing::chain(&tiles.iter().map(plain).collect::<Vec<_>>())
    }

    /// The jobs in the order in which a policy takes their tiles, and the cycles.
    fn order(way: Way, sram: u64, a: &[(u64, u64, u64)], b: &[(u64, u64, u64)]) -> (String, u64) {
        let npu = npu(sram, 0);
        let (a, b) = (chain(a), chain(b));
        let race = Race { npu: &npu, chains: vec![&a, &b], requests: &[1, 1], order: &[0, 1] };
        let mut taken = String::new();
        let (_, cycles) = race.run(&way, Style::PLAIN, None, |step| taken.push(['A', 'B'][step.job])).unwrap().unwrap();
        (taken, cycles.get())
    }

    /// A computes (load 10, tile 40), B loads (30, 10). Empty, A leaves compute idle for 10 and B for 30: A. Then the
    /// DMA engine is at 10, compute at 50: neither leaves any idle, and it is B's turn: B, to 40 and 60. A's load
    /// would end at 50, B's at 70, 10 too late: A, to 50 and 100. B, to 80 and 110.
    #[test]
    fn greedy_takes_what_leaves_the_least_idle() {
        let (a, b) = ([(1, 10, 40); 2], [(1, 30, 10); 2]);
        assert_eq!(order(Way::Greedy, 100, &a, &b), ("ABAB".into(), 110));
        assert_eq!(order(Way::Serial, 100, &a, &b), ("AABB".into(), 110));
    }

    /// A naive greedy would now be serial: after A's first tile no choice leaves anything idle, so only the tie-break
    /// makes it weave. Serial: A A A to (30, 160), then B B B loads to 180 with compute at 170, 180, 190. Woven: A to
    /// (10, 60), B to (60, 70), then A's load ends at 70: no idle, and B's at 110: 40 idle; A to (70, 120), B to
    /// (120, 130), A to (130, 180), B to (180, 190).
    #[test]
    fn the_tie_break_is_the_algorithm() {
        let (a, b) = ([(1, 10, 50); 3], [(1, 50, 10); 3]);
        assert_eq!(order(Way::Greedy, 100, &a, &b).0, "ABABAB");
        assert_eq!(order(Way::Serial, 100, &a, &b), ("AAABBB".into(), 190));
        assert_eq!(order(Way::Greedy, 100, &a, &b).1, 190);
    }

    /// With room for two loads of 50: after A A (DMA at 20, tiles done at 50 and 90), B's load of 50 must wait for the
    /// first tile, until 50, and is there at 60.
    #[test]
    fn a_load_waits_for_space() {
        let (a, b) = ([(50, 10, 40); 2], [(50, 10, 5); 1]);
        assert_eq!(order(Way::Serial, 100, &a, &b), ("AAB".into(), 95));
        assert_eq!(order(Way::Serial, 50, &a, &b).1, 10 + 40 + 10 + 40 + 10 + 5);
    }

    /// Three tiles against one: (0 + 1) / 3 before (0 + 1) / 1, (1 + 1) / 3, then (2 + 1) / 3 = 1 / 1: the first job.
    #[test]
    fn round_robin_is_proportional() {
        let (a, b) = ([(1, 1, 1); 3], [(1, 1, 1); 1]);
        assert_eq!(order(Way::RoundRobin, 100, &a, &b).0, "AAAB");
        assert_eq!(order(Way::RoundRobin, 100, &b, &a).0, "BBAB");
    }
}
