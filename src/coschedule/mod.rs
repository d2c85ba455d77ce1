//! Which tile runs when, and where its data are: the order of two models' tiles on both engines, and its bounds.
//!
//! Tiles, space and order are settled together: each policy is tried with several sizes of tile, and space is given
//! while the order is made. What comes out is a [`Plan`]; `stream` makes it safe under any timing.

mod alone;
mod best;
mod bound;
mod chain;
mod holders;
mod layout;
mod layouts;
mod live;
mod machine;
mod optimal;
mod phases;
mod placing;
mod plan;
mod policy;
mod space;
#[cfg(test)]
mod testing;

pub use alone::{Alone, Held};
use layouts::{Choice, Layouts};
use machine::NoRoom;
pub use optimal::Effort;
use phases::Course;
pub use plan::{Plan, Planned, Stay, StayId, Tile, Transfer};
pub use policy::Policy;
use policy::Way;

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
    /// Whether this is the serial order, for the policy makes nothing shorter.
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
pub enum NoFit {
    /// Its smallest tile needs too much.
    #[error(
        "model '{model}': layer '{layer}' does not fit in the SRAM of {sram}: {tile} are needed at once, with its \
         smallest tile and all that can be spilled spilled; give a larger sram.bytes"
    )]
    TooLarge {
        /// The model's name.
        model: String,
        /// The layer's name.
        layer: String,
        /// What a tile loads and writes, and what is kept beside it.
        tile: Bytes,
        /// The scratchpad's size.
        sram: Bytes,
    },
    /// What is free is in pieces that are too short.
    #[error(
        "model '{model}': layer '{layer}' finds no place in the SRAM of {sram}: a tile of it takes {tile}, of which \
         {piece} in one piece; {held} are held for other tiles, and of the rest the longest piece that is free has \
         {longest}; give a larger sram.bytes, or try another --policy or --precision"
    )]
    NoPlace {
        /// The model's name.
        model: String,
        /// The layer's name.
        layer: String,
        /// What the tile loads and writes.
        tile: Bytes,
        /// What of it finds no place.
        piece: Bytes,
        /// What is held for others.
        held: Bytes,
        /// What is free in one piece.
        longest: Bytes,
        /// The scratchpad's size.
        sram: Bytes,
    },
}

/// The jobs in every size of tile, and their best serial order.
pub struct Weaver<'a> {
    jobs: Vec<Job<'a>>,
    layouts: Layouts<'a>,
    effort: Effort,
    serial: Choice,
    floor: Cycles,
}

impl<'a> Weaver<'a> {
    /// Lays out each job, and finds the serial order to beat.
    pub fn new(npu: &'a Npu, jobs: &[Job<'a>]) -> Result<Self, NoFit> {
        let layouts = Layouts::new(npu, jobs)?;
        let serial = layouts.best(&Way::Serial).map_err(|no_room| no_fit(jobs, &layouts, no_room))?;
        Ok(Self { jobs: jobs.to_vec(), layouts, effort: Effort::NORMAL, serial, floor: floor(npu, jobs) })
    }

    /// The same, with another effort for [`Policy::Optimal`].
    #[must_use]
    pub fn with_effort(self, effort: Effort) -> Self {
        Self { effort, ..self }
    }

    /// The best that a policy makes of the jobs; greedy and optimal are the serial order where that is shorter, or has
    /// room alone.
    pub fn weave(&self, policy: Policy) -> Result<Woven, NoFit> {
        let choice = self.choose(policy)?;
        let race = self.layouts.race(&choice.layouts, &choice.order);
        let plan = race.plan(&choice.way, choice.style);
        let plan = plan.map_err(|why| no_fit(&self.jobs, &self.layouts, (why, choice.layouts.clone())))?;
        Ok(Woven {
            policy,
            is_serial: choice.way.is_serial() && policy != Policy::Serial,
            plan,
            traffic: (self.layouts.chains(&choice.layouts).iter().zip(&self.jobs))
                .map(|(chain, job)| chain.traffic(job.model.layers.len()))
                .collect(),
            cycles: choice.cycles,
            bound: self.layouts.tight_bound(&choice.layouts, choice.cycles).max(self.floor),
            floor: self.floor,
            serial: self.serial.cycles,
        })
    }

    /// What each job takes with the NPU to itself, by its best serial order.
    pub fn alone(&self) -> Result<Vec<Cycles>, NoFit> {
        let of_job = |job: &Job<'a>| Ok(Weaver::new(self.layouts.npu, &[*job])?.serial.cycles);
        self.jobs.iter().map(of_job).collect()
    }

    fn choose(&self, policy: Policy) -> Result<Choice, NoFit> {
        let serial = || self.serial.clone();
        match policy {
            Policy::Serial => Ok(serial()),
            Policy::RoundRobin => {
                (self.layouts.best(&Way::RoundRobin)).map_err(|no_room| no_fit(&self.jobs, &self.layouts, no_room))
            }
            Policy::Greedy => {
                let greedy = self.layouts.best(&Way::Greedy).ok();
                Ok(greedy.filter(|choice| choice.cycles <= self.serial.cycles).unwrap_or_else(serial))
            }
            Policy::Optimal => Ok(optimal::search(&self.layouts, serial(), self.effort)),
        }
    }
}

/// A lower bound under any tiling, spilling and order of commands, each job's layers and requests one after the other.
fn floor<'a>(npu: &Npu, jobs: &[Job<'a>]) -> Cycles {
    let compute = jobs.iter().map(|job| job.analysis.floor.compute * u64::from(job.requests)).sum();
    let dram = jobs.iter().map(|job| job.analysis.floor.dram * u64::from(job.requests)).sum();
    let course = |job: &Job| Course::of_layers(&job.analysis.floor.layers, job.requests);
    let passing = phases::bound(npu, jobs.iter().map(course));
    let layers = |job: &Job<'a>| (job.analysis.floor.layers.as_slice(), job.requests);
    let divided = bound::of_layers(npu, &jobs.iter().map(layers).collect::<Vec<_>>());
    bound::floor(npu, compute, dram).max(passing).max(divided)
}

fn no_fit(jobs: &[Job], layouts: &Layouts, (no_room, picks): (NoRoom, Vec<usize>)) -> NoFit {
    let model = jobs[no_room.job].model;
    let chain = layouts.chains(&picks)[no_room.job];
    let tile = &chain.tiles[no_room.tile];
    let slots = tile.loads.iter().chain(&tile.begins);
    NoFit::NoPlace {
        model: model.name.clone(),
        layer: model.layers[tile.layer].name.clone(),
        tile: slots.map(|&slot| chain.slots[slot].bytes).sum(),
        piece: no_room.piece,
        held: no_room.held,
        longest: no_room.longest,
        sram: layouts.npu.sram.bytes,
    }
}
