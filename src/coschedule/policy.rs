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
    pub(super) chains: &'a [Chain],
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
