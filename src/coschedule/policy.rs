//! The policies: which job's tile comes next.

use std::cmp::Ordering;

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

    /// Whether precedence decides only where nothing else does.
    pub(super) fn is_by_turn(&self) -> bool {
        matches!(self, Self::RoundRobin | Self::Greedy)
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
    pub(super) fn cycles(&self, way: &Way, style: Style, limit: Option<Cycles>) -> Timed {
        self.run(way, style, limit, |_| ()).map(|done| done.map(|(_, cycles)| cycles))
    }

    /// The same, and for the jobs by the opposite precedence: that makes a difference only from the first step on that
    /// nothing else decides.
    pub(super) fn cycles_of_both(&self, way: &Way, style: Style, limit: Option<Cycles>) -> [Timed; 2] {
        let opposite: Vec<usize> = self.order.iter().rev().copied().collect();
        let mut other = None;
        let cycles = |done: Done| done.map(|(_, cycles)| cycles);
        let first = Run::new(self, way, style).finish(
            limit,
            |_| (),
            |run| {
                other.get_or_insert_with(|| run.clone());
            },
        );
        let first = first.map(cycles);
        let limit = first.ok().flatten().or(limit);
        let second = match other {
            None => first,
            Some(run) => Run { order: &opposite, ..run }.finish(limit, |_| (), |_| ()).map(cycles),
        };
        [first, second]
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

    fn run(&self, way: &Way, style: Style, limit: Option<Cycles>, each: impl FnMut(&Step)) -> Result<Done, NoRoom> {
        Run::new(self, way, style).finish(limit, each, |_| ())
    }

    /// A sum over all tiles of all requests.
    fn sum(&self, of: impl Fn(&ChainTile) -> Cycles) -> Cycles {
        let of_job =
            |(chain, &requests): (&&Chain, &u32)| chain.tiles.iter().map(&of).sum::<Cycles>() * u64::from(requests);
        self.chains.iter().zip(self.requests).map(of_job).sum()
    }
}

/// Cycles, if less than a limit.
pub(super) type Timed = Result<Option<Cycles>, NoRoom>;

/// How many outputs are stored at the end, and when all is done; `None` where that is not before a limit.
type Done = Option<(usize, Cycles)>;

/// A race under way.
#[derive(Clone)]
struct Run<'r> {
    chains: &'r [&'r Chain],
    way: &'r Way,
    order: &'r [usize],
    machine: Machine<'r>,
    /// The jobs that may come next, in the order in which they are asked.
    jobs: Vec<usize>,
    /// Steps so far.
    level: usize,
    compute_left: Cycles,
    loads_left: Cycles,
    /// Whether precedence alone may have decided which job is next.
    is_even: bool,
}

impl<'r> Run<'r> {
    fn new(race: &'r Race, way: &'r Way, style: Style) -> Self {
        let mut machine = Machine::new(race.npu, &race.chains, race.requests).with_style(style);
        if let Way::Placed(_, addresses) = way {
            machine = machine.with_addresses(addresses);
        }
        let (compute_left, loads_left) = (race.sum(|tile| tile.cycles), race.sum(|tile| tile.load_cycles));
        let (chains, order) = (&race.chains, race.order);
        Self { chains, way, order, machine, jobs: Vec::new(), level: 0, compute_left, loads_left, is_even: false }
    }

    /// Runs all tiles; `None` as soon as it is sure to take as much as the limit.
    fn finish(
        mut self,
        limit: Option<Cycles>,
        mut each: impl FnMut(&Step),
        mut when_even: impl FnMut(&Self),
    ) -> Result<Done, NoRoom> {
        loop {
            let next = self.next();
            if self.is_even {
                when_even(&self);
            }
            let Some(step) = next? else { break };
            let tile = &self.chains[step.job].tiles[step.tile];
            self.compute_left = self.compute_left - tile.cycles;
            self.loads_left = self.loads_left - tile.load_cycles;
            self.level += 1;
            each(&step);
            self.machine.take(step);
            let machine = &self.machine;
            let least = (machine.compute_free + self.compute_left).max(machine.dma_free + self.loads_left);
            if limit.is_some_and(|limit| limit <= least) {
                return Ok(None);
            }
        }
        let (unstored, cycles) = self.machine.finish();
        Ok(limit.is_none_or(|limit| cycles < limit).then_some((unstored, cycles)))
    }

    /// The next step; `None` when all is done.
    fn next(&mut self) -> Result<Option<Step>, NoRoom> {
        let Self { jobs, machine, level, .. } = self;
        jobs.clear();
        jobs.extend(self.order.iter().copied().filter(|&job| machine.has_next(job)));
        self.is_even = false;
        match self.way {
            Way::Serial => jobs.truncate(1),
            Way::Placed(order, _) => {
                jobs.retain(|&job| order.get(*level).is_some_and(|&next| usize::from(next) == job))
            }
            Way::Order(order) => {
                jobs.sort_by_key(|&job| order.get(*level).is_none_or(|&next| usize::from(next) != job));
            }
            Way::RoundRobin | Way::Greedy => {
                // The sort is stable: at ties precedence decides.
                jobs.sort_by(|&a, &b| by_turn(machine, a, b));
                self.is_even = jobs.windows(2).any(|pair| by_turn(machine, pair[0], pair[1]).is_eq());
            }
        }
        match self.way {
            Way::Serial | Way::RoundRobin | Way::Order(_) | Way::Placed(..) => self.first_that_fits(),
            Way::Greedy => self.least_idle(),
        }
    }

    /// The first job's step that has room; where none has, why the first has not.
    fn first_that_fits(&mut self) -> Result<Option<Step>, NoRoom> {
        let mut why = None;
        for &job in &self.jobs {
            match self.machine.probe(job) {
                Ok(step) => return Ok(Some(step)),
                Err(no_room) => why = why.or(Some(no_room)),
            }
        }
        why.map_or(Ok(None), Err)
    }

    /// The step that leaves the engines idle the least; at ties the first job's.
    fn least_idle(&mut self) -> Result<Option<Step>, NoRoom> {
        let mut best: Option<(Cycles, Step)> = None;
        let mut why = None;
        for &job in &self.jobs {
            match self.machine.probe(job) {
                Ok(step) => {
                    let idle = step.compute_idle + step.dma_idle;
                    let is_less = best.as_ref().is_none_or(|(least, _)| idle < *least);
                    self.is_even &= best.as_ref().is_none_or(|(least, _)| idle == *least);
                    best = best.filter(|_| !is_less).or(Some((idle, step)));
                }
                Err(no_room) => why = why.or(Some(no_room)),
            }
            // None leaves less.
            if best.as_ref().is_some_and(|(least, _)| *least == Cycles::ZERO) {
                break;
            }
        }
        match best {
            Some((_, step)) => Ok(Some(step)),
            None => why.map_or(Ok(None), Err),
        }
    }
}

/// Which of two jobs would be less far: in proportion to their tiles.
fn by_turn(machine: &Machine, a: usize, b: usize) -> Ordering {
    // (done + 1) / all, compared by cross products.
    let ((a_done, a_all), (b_done, b_all)) = (machine.progress(a), machine.progress(b));
    let cross = |done: u64, all: u64| u128::from(done + 1) * u128::from(all);
    cross(a_done, b_all).cmp(&cross(b_done, a_all))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::coschedule::testing::{self, Plain, any_tiles, npu};
    use crate::units::Bytes;

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

    /// By hand, of 100 bytes. What three tiles leave goes to the high end: 20 at 80, 30 at 50, 20 at 30. When the fourth
    /// loads 50, the 30 are no longer used: 60 bytes are free, 0..30 and 50..80, and 40 are held.
    #[test]
    fn a_tile_without_a_place_says_what_is_held() {
        let leaving = |leaves| Plain { compute: 1, leaves, ..Plain::default() };
        let last = Plain { load: Some((50, 10)), compute: 1, ..Plain::default() };
        let chain = testing::chain(&[leaving((20, 4)), leaving((30, 1)), leaving((20, 2)), last, leaving((1, 0))]);
        let npu = npu(100, 0);
        let race = Race { npu: &npu, chains: vec![&chain], requests: &[1], order: &[0] };
        let held = NoRoom { job: 0, tile: 3, piece: Bytes(50), longest: Bytes(30), held: Bytes(40) };
        assert_eq!(race.cycles(&Way::Serial, Style::PLAIN, None), Err(held));
    }

    /// Three tiles against one: (0 + 1) / 3 before (0 + 1) / 1, (1 + 1) / 3, then (2 + 1) / 3 = 1 / 1: the first job.
    #[test]
    fn round_robin_is_proportional() {
        let (a, b) = ([(1, 1, 1); 3], [(1, 1, 1); 1]);
        assert_eq!(order(Way::RoundRobin, 100, &a, &b).0, "AAAB");
        assert_eq!(order(Way::RoundRobin, 100, &b, &a).0, "BBAB");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        /// What is shared of two runs is what they have in common, up to any limit.
        #[test]
        fn both_precedences_at_once_are_each_alone(
            a in any_tiles(6),
            b in any_tiles(6),
            sram in 8..24u64,
            is_greedy in any::<bool>(),
            limit in prop::option::of(0..60u64),
        ) {
            let npu = npu(sram, 0);
            let (a, b) = (testing::chain(&a), testing::chain(&b));
            let way = if is_greedy { Way::Greedy } else { Way::RoundRobin };
            let limit = limit.map(Cycles);
            let race = |order| Race { npu: &npu, chains: vec![&a, &b], requests: &[1, 2], order };
            let [first, second] = race(&[0, 1]).cycles_of_both(&way, Style::PLAIN, limit);
            prop_assert_eq!(first, race(&[0, 1]).cycles(&way, Style::PLAIN, limit));
            let limit = first.ok().flatten().or(limit);
            let alone = race(&[1, 0]).cycles(&way, Style::PLAIN, limit);
            let known = second.map(|cycles| cycles.filter(|&cycles| limit.is_none_or(|limit| cycles < limit)));
            prop_assert_eq!(known.map_err(|_| ()), alone.map_err(|_| ()));
        }
    }
}
