//! Which tile runs when, and where its data are: the order of two models' tiles on both engines, and its bounds.
//!
//! Tiles, space and order are settled together: each policy is tried with several sizes of tile, and space is given
//! while the order is made. What comes out is a [`Plan`]; `stream` makes it safe under any timing.

mod bound;
mod chain;
mod layout;
mod machine;
mod plan;
mod policy;
mod space;

use bound::Outline;
use chain::Chain;
use layout::TooLarge;
use machine::NoRoom;
pub use plan::{Plan, Planned, Stay, StayId, Tile, Transfer};
pub use policy::Policy;
use policy::Race;

use crate::analysis::Analysis;
use crate::ir::{IdVec, LayerId, Model};
use crate::npu::Npu;
use crate::units::{Bytes, Cycles};

/// A model to schedule, and how often it runs.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its analysis on the same NPU.
    pub analysis: &'a Analysis,
    /// Inferences, at least one.
    pub requests: u32,
}

/// A schedule of some jobs, before it is lowered.
#[derive(Clone, Debug)]
pub struct Woven {
    /// Which policy was asked for.
    pub policy: Policy,
    /// Whether the serial order is shorter than what the policy makes, and is therefore what this is.
    pub is_serial: bool,
    /// The commands.
    pub plan: Plan,
    /// For each job, what crosses the DRAM channel for each layer in one request.
    pub traffic: Vec<IdVec<LayerId, Bytes>>,
    /// When the last is done.
    pub cycles: Cycles,
    /// No order of these tiles is shorter.
    pub bound: Cycles,
    /// No tiling and no order is shorter.
    pub floor: Cycles,
    /// The shortest serial order.
    pub serial: Cycles,
}

/// A layer for which the scratchpad has no room, whichever tiles and order were tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "model '{model}': layer '{layer}' does not fit in the SRAM of {sram}: {tile} are needed at once, with its smallest \
     tile and all that can be spilled spilled; give a larger sram.bytes"
)]
pub struct NoFit {
    /// The model's name.
    pub model: String,
    /// The layer's name.
    pub layer: String,
    /// What a tile loads and writes.
    pub tile: Bytes,
    /// The scratchpad's size.
    pub sram: Bytes,
}

/// The sizes that a tile's load may have, from the largest; first whole layers.
const LIMITS: [Bytes; 7] = [
    Bytes(u64::MAX),
    Bytes(4 << 20),
    Bytes(2 << 20),
    Bytes(1 << 20),
    Bytes(512 << 10),
    Bytes(256 << 10),
    Bytes(128 << 10),
];

/// The jobs in every size of tile, and their best serial order.
pub struct Weaver<'a> {
    npu: &'a Npu,
    jobs: Vec<Job<'a>>,
    requests: Vec<u32>,
    /// For each job its different layouts, from the coarsest.
    layouts: Vec<Vec<Layout>>,
    serial: Choice,
}

#[derive(Clone)]
struct Layout {
    chain: Chain,
    outline: Outline,
}

/// A layout for each job, an order of precedence, and what comes of it.
#[derive(Clone, Debug)]
struct Choice {
    layouts: Vec<usize>,
    order: Vec<usize>,
    cycles: Cycles,
}

impl<'a> Weaver<'a> {
    /// Lays out each job, and finds the serial order to beat.
    pub fn new(npu: &'a Npu, jobs: &[Job<'a>]) -> Result<Self, NoFit> {
        let layouts = jobs.iter().map(|job| layouts(npu, job, jobs.len() as u64)).collect::<Result<_, _>>()?;
        let requests = jobs.iter().map(|job| job.requests).collect();
        let serial = Choice { layouts: Vec::new(), order: Vec::new(), cycles: Cycles::ZERO };
        let mut weaver = Self { npu, jobs: jobs.to_vec(), requests, layouts, serial };
        weaver.serial = weaver.best(Policy::Serial)?;
        Ok(weaver)
    }

    /// The best that a policy makes of the jobs; greedy is the serial order where that is shorter, or has room alone.
    pub fn weave(&self, policy: Policy) -> Result<Woven, NoFit> {
        let serial = || (self.serial.clone(), Policy::Serial);
        let (choice, runs) = match policy {
            Policy::Serial => serial(),
            Policy::RoundRobin => (self.best(policy)?, policy),
            Policy::Greedy => match self.best(policy) {
                Ok(choice) if choice.cycles <= self.serial.cycles => (choice, policy),
                Ok(_) | Err(NoFit { .. }) => serial(),
            },
        };
        let chains = self.chains(&choice.layouts);
        let race = Race { npu: self.npu, chains: &chains, requests: &self.requests, order: &choice.order };
        let plan = race.plan(runs).map_err(|no_room| self.no_fit((no_room, choice.layouts.clone())))?;
        let floor = self.floor();
        Ok(Woven {
            policy,
            is_serial: runs != policy,
            plan,
            traffic: chains.iter().zip(&self.jobs).map(|(chain, job)| chain.traffic(job.model.layers.len())).collect(),
            cycles: choice.cycles,
            bound: bound::of_tiles(self.npu, &self.outlines(&choice.layouts)).max(floor),
            floor,
            serial: self.serial.cycles,
        })
    }

    /// The best choice for a policy, or why none has room.
    ///
    /// All jobs take each size of tile in turn; from the best of these on, each job alone tries its other sizes, for as
    /// long as that helps.
    fn best(&self, policy: Policy) -> Result<Choice, NoFit> {
        let mut search = Search { weaver: self, policy, best: None, no_room: None };
        let sizes = self.layouts.iter().map(Vec::len).max().unwrap_or(0);
        for size in 0..sizes {
            search.try_out(self.layouts.iter().map(|layouts| size.min(layouts.len() - 1)).collect());
        }
        let mut before = None;
        while let Some(best) = search.best.clone().filter(|best| before != Some(best.cycles)) {
            before = Some(best.cycles);
            for job in 0..self.jobs.len() {
                for size in 0..self.layouts[job].len() {
                    let mut layouts = best.layouts.clone();
                    layouts[job] = size;
                    search.try_out(layouts);
                }
            }
        }
        search.best.ok_or_else(|| self.no_fit(search.no_room.expect("every job has a layout")))
    }

    fn chains(&self, layouts: &[usize]) -> Vec<&Chain> {
        self.layouts.iter().zip(layouts).map(|(all, &i)| &all[i].chain).collect()
    }

    fn outlines(&self, layouts: &[usize]) -> Vec<&Outline> {
        self.layouts.iter().zip(layouts).map(|(all, &i)| &all[i].outline).collect()
    }

    fn floor(&self) -> Cycles {
        let compute = self.jobs.iter().map(|job| job.analysis.floor.compute * u64::from(job.requests)).sum();
        let dram = self.jobs.iter().map(|job| job.analysis.floor.dram * u64::from(job.requests)).sum();
        bound::floor(self.npu, compute, dram)
    }

    fn no_fit(&self, (no_room, layouts): (NoRoom, Vec<usize>)) -> NoFit {
        let model = self.jobs[no_room.job].model;
        let chain = &self.layouts[no_room.job][layouts[no_room.job]].chain;
        let tile = &chain.tiles[no_room.tile];
        let slots = tile.loads.iter().chain(&tile.begins);
        NoFit {
            model: model.name.clone(),
            layer: model.layers[tile.layer].name.clone(),
            tile: slots.map(|&slot| chain.slots[slot].bytes).sum(),
            sram: self.npu.sram.bytes,
        }
    }
}

/// The best choice so far, and why the newest one that has no room has none.
struct Search<'a, 'b> {
    weaver: &'a Weaver<'b>,
    policy: Policy,
    best: Option<Choice>,
    no_room: Option<(NoRoom, Vec<usize>)>,
}

impl Search<'_, '_> {
    /// Tries layouts with either job first, if they could be better than the best so far.
    fn try_out(&mut self, layouts: Vec<usize>) {
        let weaver = self.weaver;
        let chains = weaver.chains(&layouts);
        let outlines = weaver.outlines(&layouts);
        let forward: Vec<usize> = (0..layouts.len()).collect();
        let backward: Vec<usize> = forward.iter().rev().copied().collect();
        for order in [forward, backward] {
            let least = match self.policy {
                Policy::Serial => bound::of_serial(order.iter().map(|&job| outlines[job])),
                Policy::RoundRobin | Policy::Greedy => bound::of_tiles(weaver.npu, &outlines),
            };
            if self.best.as_ref().is_some_and(|best| best.cycles <= least) {
                continue;
            }
            let race = Race { npu: weaver.npu, chains: &chains, requests: &weaver.requests, order: &order };
            match race.cycles(self.policy) {
                Ok(cycles) if self.best.as_ref().is_none_or(|best| cycles < best.cycles) => {
                    self.best = Some(Choice { layouts: layouts.clone(), order, cycles });
                }
                Ok(_) => {}
                Err(why) => self.no_room = Some((why, layouts.clone())),
            }
        }
    }
}

/// The different layouts of a job: each limit on a tile's load in all of the scratchpad; and, where even the finest
/// takes more than its share, in less and less of it.
fn layouts(npu: &Npu, job: &Job, jobs: u64) -> Result<Vec<Layout>, NoFit> {
    let sram = npu.sram.bytes;
    let mut found: Vec<(chain::Layout, Chain)> = Vec::new();
    let mut why = None;
    let mut add =
        |found: &mut Vec<(chain::Layout, Chain)>, limit, budget| match layout::lay_out(npu, job, limit, budget) {
            Ok(new) if found.iter().any(|(known, _)| *known == new.0) => {}
            Ok(new) => found.push(new),
            Err(too_large) => why = why.or(Some(too_large)),
        };
    LIMITS.into_iter().for_each(|limit| add(&mut found, limit, sram));
    let peak = |chain: &Chain| chain.held(npu.sram.alignment_bytes, |_| true).into_iter().max();
    let is_tight = found.last().and_then(|(_, chain)| peak(chain)).is_none_or(|peak| peak * jobs > sram);
    let shares = if is_tight { &[6, 4, 3, 2, 1][..] } else { &[] };
    shares.iter().for_each(|eighths| add(&mut found, LIMITS[LIMITS.len() - 1], Bytes(sram.get() / 8 * eighths)));
    let layout = |(_, chain): (chain::Layout, Chain)| {
        let outline = Outline::new(npu, &chain, job.requests);
        Layout { chain, outline }
    };
    match (found.is_empty(), why) {
        (true, Some(TooLarge { layer, needs })) => {
            Err(NoFit { model: job.model.name.clone(), layer: job.model.layers[layer].name.clone(), tile: needs, sram })
        }
        (_, _) => Ok(found.into_iter().map(layout).collect()),
    }
}
