//! Rule 1: what the other rules take for granted. Where it is broken, nothing else is looked at.
//!
//! Afterwards every id exists, boxes and accesses fit what they are of, and no volume, index, sum of cycles or table
//! over requests can be larger than memory or `u64` allow.

use std::fmt::Display;

use super::duration::multiplied_bits;
use super::replay::latency;
use super::violation::{Named, Violation};
use crate::npu::NpuError;
use crate::schedule::{
    Bound, Buffer, BufferId, Command, CommandId, Direction, FORMAT, LayerId, LayerRow, ModelId, NdBox, Op, Operand,
    Schedule, ScheduledModel, Tensor, TensorKind, Tile, VERSION,
};

/// The most iterations, elements, and the largest offset or stride: beyond any network, and no sum leaves `i128`.
const LARGEST: u64 = 1 << 48;
const MOST_BITS: u64 = 1024;
const MOST_LANE_OPERATIONS: u64 = 1 << 20;

pub(super) fn check(schedule: &Schedule) -> Result<(), Vec<Violation>> {
    let mut structure = Structure { schedule, found: Vec::new() };
    structure.check_head();
    for (id, model) in schedule.models.iter_with_ids() {
        structure.check_model(id, model);
    }
    for (id, buffer) in schedule.buffers.iter_with_ids() {
        structure.check_buffer(id, buffer);
    }
    for (id, command) in schedule.commands.iter_with_ids() {
        structure.check_command(id, command);
    }
    structure.check_totals();
    if structure.found.is_empty() { Ok(()) } else { Err(structure.found) }
}

struct Structure<'a> {
    schedule: &'a Schedule,
    found: Vec<Violation>,
}

impl Structure<'_> {
    fn check_head(&mut self) {
        let (format, version) = (&self.schedule.format, self.schedule.version);
        if format != FORMAT || version != VERSION {
            self.found.push(Violation::Format { format: format.clone(), version });
        }
        if let Err(NpuError { path, what }) = self.schedule.npu.validate() {
            self.found.push(Violation::Npu { path, what });
        }
    }

    fn check_model(&mut self, id: ModelId, model: &ScheduledModel) {
        self.in_range(model.requests > 0, || id.to_string(), "its number of requests");
        for (tensor_id, tensor) in model.tensors.iter_with_ids() {
            let Tensor { name, shape, element_bits, kind: _ } = tensor;
            let place = || format!("{tensor_id} ({name} of {})", model.name);
            self.in_range((1..=MOST_BITS).contains(element_bits), place, "its element_bits");
            self.in_range(is_bounded(shape.iter().copied()), place, "its number of elements");
        }
        for (layer_id, row) in model.layers.iter_with_ids() {
            self.check_layer(model, layer_id, row);
        }
    }

    fn check_layer(&mut self, model: &ScheduledModel, id: LayerId, LayerRow { layer, figures }: &LayerRow) {
        let named = || Named { id, name: format!("{} of {}", layer.name, model.name) };
        let place = || named().to_string();
        let sizes = || layer.dims.iter().map(|dim| dim.size);
        self.in_range(sizes().all(|size| size > 0) && is_bounded(sizes()), place, "its number of iterations");
        self.in_range(layer.lane_operations <= MOST_LANE_OPERATIONS, place, "its lane_operations");
        if layer.op == Op::Gemm {
            let bits = multiplied_bits(model, layer);
            if self.schedule.npu.matrix.rate(bits).is_none() {
                self.found.push(Violation::UnknownPrecision { layer: named(), bits });
            }
        }
        for operand in layer.operands() {
            self.check_operand(model, named, layer.dims.len(), operand);
        }
        match &layer.write {
            None if layer.op != Op::Measured => self.found.push(Violation::WritesNothing { layer: named() }),
            None => {}
            Some(Operand { tensor, access: _ }) => match model.tensors.get(*tensor).map(|tensor| tensor.kind) {
                Some(TensorKind::Weight | TensorKind::Input) => {
                    self.found.push(Violation::WritesConstant { layer: named(), tensor: *tensor });
                }
                Some(TensorKind::Output | TensorKind::Activation) | None => {}
            },
        }
        let bound = if figures.compute_cycles >= figures.dma_cycles { Bound::Compute } else { Bound::Memory };
        if figures.bound != bound {
            self.found.push(Violation::WrongBound { layer: named() });
        }
    }

    fn check_operand(
        &mut self,
        model: &ScheduledModel,
        layer: impl Fn() -> Named<LayerId>,
        dims: usize,
        Operand { tensor: id, access }: &Operand,
    ) {
        let place = || layer().to_string();
        let Some(tensor) = model.tensors.get(*id) else { return self.no_such(place(), id) };
        let Some(access) = access else { return };
        let (indices, rank) = (access.0.len(), tensor.shape.len());
        if indices != rank {
            self.found.push(Violation::AccessRank { layer: layer(), tensor: *id, indices, rank });
        }
        for index in &access.0 {
            self.in_range(index.offset.unsigned_abs() <= LARGEST, place, "an offset");
            for (dim, stride) in &index.terms {
                self.in_range(stride.unsigned_abs() <= LARGEST, place, "a stride");
                if dim.index() >= dims {
                    self.no_such(place(), dim);
                }
            }
        }
    }

    fn check_buffer(&mut self, id: BufferId, buffer: &Buffer) {
        let Buffer { address: _, bytes, model, request, tensor, part, element_bits } = buffer;
        let place = || id.to_string();
        self.in_range(bytes.get() > 0, place, "its bytes");
        self.in_range((1..=MOST_BITS).contains(element_bits), place, "its element_bits");
        let Some(model) = self.schedule.models.get(*model) else { return self.no_such(place(), model) };
        let Some(tensor) = model.tensors.get(*tensor) else { return self.no_such(place(), tensor) };
        if request.is_none() != (tensor.kind == TensorKind::Weight) {
            self.found.push(Violation::WrongRequest { buffer: id });
        }
        if let Some(request) = request.filter(|&request| request >= model.requests) {
            self.no_such(place(), format!("request {request}"));
        }
        self.inside(place, part, tensor.shape.iter().copied());
    }

    fn check_command(&mut self, id: CommandId, command: &Command) {
        for &wait in &command.timing().waits {
            if wait == id {
                self.found.push(Violation::WaitsForItself { command: id });
            } else if self.schedule.commands.get(wait).is_none() {
                self.no_such(id.to_string(), wait);
            }
        }
        self.all_differ(id, &command.timing().waits);
        match command {
            Command::Dma(transfer) => {
                self.in_range(transfer.bytes.get() > 0, || id.to_string(), "its bytes");
                self.check_buffers(id, &transfer.buffers);
            }
            Command::Compute(tile) => {
                self.check_tile(id, tile);
                self.check_buffers(id, &tile.reads);
                self.check_buffers(id, &tile.writes);
            }
        }
    }

    fn check_tile(&mut self, id: CommandId, tile: &Tile) {
        let place = || id.to_string();
        let Some(model) = self.schedule.models.get(tile.model) else { return self.no_such(place(), tile.model) };
        let Some(row) = model.layers.get(tile.layer) else { return self.no_such(place(), tile.layer) };
        if tile.request >= model.requests {
            self.no_such(place(), format!("request {}", tile.request));
        }
        self.inside(place, &tile.part, row.layer.dims.iter().map(|dim| dim.size));
    }

    fn check_buffers(&mut self, id: CommandId, buffers: &[BufferId]) {
        for &buffer in buffers {
            if self.schedule.buffers.get(buffer).is_none() {
                self.no_such(id.to_string(), buffer);
            }
        }
        self.all_differ(id, buffers);
    }

    /// Rules 1.9 and 1.10, and that no sum of cycles overflows.
    fn check_totals(&mut self) {
        let (models, commands, summary) = (&self.schedule.models, &self.schedule.commands, &self.schedule.summary);
        let as_many = |(model, finish): (&ScheduledModel, &Vec<_>)| finish.len() as u128 == u128::from(model.requests);
        if models.len() != summary.finish.len() || !models.iter().zip(&summary.finish).all(as_many) {
            self.found.push(Violation::FinishShape);
        }
        let times = commands.iter().map(|command| (command, command.timing().cycles));
        let span: u128 =
            times.map(|(c, cycles)| u128::from(cycles.get()) + u128::from(latency(self.schedule, c).get())).sum();
        self.in_range(u64::try_from(span).is_ok(), || "commands".to_owned(), "the sum of all cycles");
        let is_output = |tensor: &&Tensor| tensor.kind == TensorKind::Output && !tensor.shape.contains(&0);
        let stored = commands.iter().map(|command| match command {
            Command::Dma(transfer) if transfer.op == Direction::Store => transfer.buffers.len(),
            Command::Dma(_) | Command::Compute(_) => 0,
        });
        let stored = stored.sum();
        self.enough("commands", commands.len(), |model| model.layers.len());
        self.enough("buffers of stores", stored, |model| model.tensors.iter().filter(is_output).count());
    }

    /// Requests are a mere number in the file: tables over them are no larger than it only if so much is there of what
    /// each needs at least one.
    fn enough(&mut self, what: &'static str, have: usize, of_each: impl Fn(&ScheduledModel) -> usize) {
        let models = self.schedule.models.iter();
        let needed: u128 = models.map(|model| u128::from(model.requests) * of_each(model) as u128).sum();
        if needed > have as u128 {
            self.found.push(Violation::TooFew { what, needed, have });
        }
    }

    fn in_range(&mut self, holds: bool, place: impl Fn() -> String, what: &'static str) {
        if !holds {
            self.found.push(Violation::OutOfRange { place: place(), what });
        }
    }

    fn no_such(&mut self, place: String, id: impl Display) {
        self.found.push(Violation::NoSuch { place, id: id.to_string() });
    }

    fn inside(&mut self, place: impl Fn() -> String, part: &NdBox, sizes: impl ExactSizeIterator<Item = u64> + Clone) {
        let mut pairs = part.0.iter().zip(sizes.clone());
        if part.0.len() != sizes.len() || !pairs.all(|(span, size)| span.begin < span.end && span.end <= size) {
            self.found.push(Violation::NotInside { place: place(), part: part.clone(), sizes: sizes.collect() });
        }
    }

    fn all_differ<I: Copy + Ord + Display>(&mut self, command: CommandId, ids: &[I]) {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            if pair[0] == pair[1] {
                self.found.push(Violation::Repeated { place: command.to_string(), id: pair[0].to_string() });
            }
        }
    }
}

/// Whether a product of sizes is in range, whichever of them is zero.
fn is_bounded(mut sizes: impl Iterator<Item = u64>) -> bool {
    sizes.try_fold(1u64, |all, size| all.checked_mul(size.max(1)).filter(|&all| all <= LARGEST)).is_some()
}
