//! Lowers a plan to the commands of a schedule file: buffers at addresses, waits, times.
//!
//! The waits make the stream right under any timing: they are derived from who uses which bytes, never from the times
//! that the plan was made by.

mod timing;
mod waits;

use crate::analysis::with_traffic;
use crate::coschedule::{Job, Plan, Planned, Stay, Transfer, Woven};
use crate::ir::{Model, TensorKind};
use crate::npu::Npu;
use crate::schedule::{
    self, Buffer, BufferId, Command, Direction, FORMAT, IdVec, LayerId, LayerRow, ModelId, Schedule, ScheduledModel,
    Summary, Timing, VERSION,
};
use crate::units::{Bytes, Cycles, Ratio};

/// The schedule file of what was woven.
pub fn lower(npu: &Npu, jobs: &[Job], woven: &Woven) -> Schedule {
    let models = jobs.iter().zip(&woven.traffic).map(|(job, traffic)| laid_out_model(npu, job, traffic)).collect();
    let buffers = woven.plan.stays.iter().map(|stay| buffer(jobs[stay.job].model, stay)).collect();
    let mut commands: IdVec<_, _> = woven.plan.commands.iter().map(command).collect();
    waits::derive(&mut commands, &buffers);
    let times = timing::assign(npu, &mut commands);
    debug_assert_eq!(times.cycles, woven.cycles, "the plan's times are those of its waits");
    let finish = finish(jobs, &woven.plan, &commands);
    let summary = summary(woven, &times, finish);
    Schedule { format: FORMAT.into(), version: VERSION, npu: npu.clone(), models, buffers, commands, summary }
}

/// A job's model as the file has it, with what crosses the DRAM channel for each layer in a layout.
pub fn laid_out_model(npu: &Npu, job: &Job, traffic: &IdVec<LayerId, Bytes>) -> ScheduledModel {
    let mut model = scheduled_model(job);
    for (row, &bytes) in model.layers.iter_mut().zip(traffic) {
        row.figures = with_traffic(npu, &row.layer, row.figures, bytes);
    }
    model
}

/// A job's model as the file has it, as if all activations stayed on chip.
pub fn scheduled_model(job: &Job) -> ScheduledModel {
    let Model { name, fingerprint, tensors, layers } = job.model;
    let row =
        |(layer, figures): (&schedule::Layer, &schedule::Figures)| LayerRow { layer: layer.clone(), figures: *figures };
    ScheduledModel {
        name: name.clone(),
        fingerprint: fingerprint.clone(),
        requests: job.requests,
        tensors: tensors.clone(),
        layers: layers.iter().zip(&job.analysis.figures).map(row).collect(),
    }
}

fn buffer(model: &Model, stay: &Stay) -> Buffer {
    let Stay { address, bytes, job, request, tensor, part, element_bits } = stay;
    let request = match model.tensors[*tensor].kind {
        TensorKind::Weight => None,
        TensorKind::Input | TensorKind::Output | TensorKind::Activation => Some(*request),
    };
    Buffer {
        address: *address,
        bytes: *bytes,
        model: ModelId::from(*job),
        request,
        tensor: *tensor,
        part: part.clone(),
        element_bits: *element_bits,
    }
}

fn command(planned: &Planned) -> Command {
    let timing = |cycles| Timing { cycles, waits: Vec::new(), start: Cycles::ZERO, done: Cycles::ZERO };
    let ids = |stays: &[crate::coschedule::StayId]| stays.iter().map(|stay| BufferId::from(stay.index())).collect();
    let transfer = |op, Transfer { stays, bytes, cycles }: &Transfer| {
        Command::Dma(schedule::Transfer { op, buffers: ids(stays), bytes: *bytes, timing: timing(*cycles) })
    };
    match planned {
        Planned::Load(moved) => transfer(Direction::Load, moved),
        Planned::Store(moved) => transfer(Direction::Store, moved),
        Planned::Tile(tile) => Command::Compute(schedule::Tile {
            op: tile.op,
            model: ModelId::from(tile.job),
            request: tile.request,
            layer: tile.layer,
            part: tile.part.clone(),
            reads: ids(&tile.reads),
            writes: ids(&tile.writes),
            timing: timing(tile.cycles),
        }),
    }
}

/// The last `done` of each request's compute commands and stores.
fn finish(jobs: &[Job], plan: &Plan, commands: &IdVec<schedule::CommandId, Command>) -> IdVec<ModelId, Vec<Cycles>> {
    let mut finish: IdVec<ModelId, Vec<Cycles>> =
        jobs.iter().map(|job| vec![Cycles::ZERO; job.requests as usize]).collect();
    for (planned, command) in plan.commands.iter().zip(commands) {
        let owner = match planned {
            Planned::Load(_) => continue,
            Planned::Store(Transfer { stays, bytes: _, cycles: _ }) => {
                let stay = &plan.stays[stays[0]];
                (stay.job, stay.request)
            }
            Planned::Tile(tile) => (tile.job, tile.request),
        };
        let done = &mut finish[ModelId::from(owner.0)][owner.1 as usize];
        *done = command.timing().done.max(*done);
    }
    finish
}

fn summary(woven: &Woven, times: &timing::Times, finish: IdVec<ModelId, Vec<Cycles>>) -> Summary {
    let ratio = |part: Cycles, whole: Cycles| Ratio::of(part.get(), whole.get());
    let cycles = times.cycles;
    Summary {
        policy: woven.policy.name().into(),
        cycles,
        bound_cycles: woven.bound,
        floor_cycles: woven.floor,
        serial_cycles: woven.serial,
        optimality_gap: ratio(cycles.saturating_sub(woven.bound), woven.bound),
        speedup: ratio(woven.serial, cycles),
        compute_busy_cycles: times.compute_busy,
        dma_busy_cycles: times.dma_busy,
        compute_utilization: ratio(times.compute_busy, cycles),
        dma_utilization: ratio(times.dma_busy, cycles),
        finish,
    }
}
