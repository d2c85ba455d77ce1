//! What the rules after the structural ones ask of a schedule again and again.

use std::collections::BTreeMap;

use super::clock::Order;
use super::geometry::touched;
use super::replay::Replay;
use super::violation::Named;
use crate::schedule::{
    BufferId, Command, CommandId, Direction, IdVec, Layer, LayerId, ModelId, NdBox, Operand, Schedule, Tensor,
    TensorId, TensorKind, Tile, Transfer,
};

/// A layer in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) model: ModelId,
    pub(super) request: u32,
    pub(super) layer: LayerId,
}

/// A tensor in one request, or for all where `request` is `None`: what a buffer holds a part of, and a place in DRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Content {
    pub(super) model: ModelId,
    pub(super) request: Option<u32>,
    pub(super) tensor: TensorId,
}

/// A command that names a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) command: CommandId,
    pub(super) writes: bool,
}

/// A schedule whose ids and boxes are sound, and what follows from it at once.
pub(super) struct Facts<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) order: Order,
    /// The uses of each buffer, in the file's order; a command that reads and writes it has two.
    pub(super) uses: IdVec<BufferId, Vec<Use>>,
    /// The tiles of each layer in each request, in queue order.
    pub(super) tiles: BTreeMap<Run, Vec<CommandId>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(schedule: &'a Schedule, replay: &Replay) -> Self {
        let mut uses: IdVec<BufferId, Vec<Use>> = schedule.buffers.iter().map(|_| Vec::new()).collect();
        let mut tiles: BTreeMap<Run, Vec<CommandId>> = BTreeMap::new();
        let mut note = |command, buffers: &[BufferId], writes| {
            for &buffer in buffers {
                uses[buffer].push(Use { command, writes });
            }
        };
        for (id, command) in schedule.commands.iter_with_ids() {
            match command {
                Command::Dma(Transfer { op, buffers, bytes: _, timing: _ }) => {
                    note(id, buffers, *op == Direction::Load);
                }
                Command::Compute(tile) => {
                    note(id, &tile.reads, false);
                    note(id, &tile.writes, true);
                    let run = Run { model: tile.model, request: tile.request, layer: tile.layer };
                    tiles.entry(run).or_default().push(id);
                }
            }
        }
        Self { schedule, order: Order::new(&schedule.commands, &replay.started), uses, tiles }
    }

    /// All compute commands, in queue order.
    pub(super) fn computes(&self) -> impl Iterator<Item = (CommandId, &'a Tile)> + use<'a> {
        self.schedule.commands.iter_with_ids().filter_map(|(id, command)| match command {
            Command::Dma(_) => None,
            Command::Compute(tile) => Some((id, tile)),
        })
    }

    /// All transfers in one direction, in queue order.
    pub(super) fn transfers(&self, op: Direction) -> impl Iterator<Item = (CommandId, &'a Transfer)> + use<'a> {
        self.schedule.commands.iter_with_ids().filter_map(move |(id, command)| match command {
            Command::Dma(transfer) => (transfer.op == op).then_some((id, transfer)),
            Command::Compute(_) => None,
        })
    }

    pub(super) fn is_transfer(&self, command: CommandId) -> bool {
        matches!(self.schedule.commands[command], Command::Dma(_))
    }

    /// The commands that write to a buffer, in the file's order.
    pub(super) fn fills(&self, buffer: BufferId) -> impl Iterator<Item = CommandId> + '_ {
        self.uses[buffer].iter().filter(|a_use| a_use.writes).map(|a_use| a_use.command)
    }

    /// The tile of a compute command.
    pub(super) fn tile(&self, command: CommandId) -> &'a Tile {
        match &self.schedule.commands[command] {
            Command::Compute(tile) => tile,
            Command::Dma(_) => unreachable!("{command} was found as a compute command"),
        }
    }

    pub(super) fn layer(&self, tile: &Tile) -> &'a Layer {
        &self.schedule.models[tile.model].layers[tile.layer].layer
    }

    pub(super) fn part(&self, buffer: BufferId) -> &'a NdBox {
        &self.schedule.buffers[buffer].part
    }

    /// What a buffer holds a part of.
    pub(super) fn content(&self, buffer: BufferId) -> Content {
        let buffer = &self.schedule.buffers[buffer];
        Content { model: buffer.model, request: buffer.request, tensor: buffer.tensor }
    }

    pub(super) fn tensor(&self, content: Content) -> &'a Tensor {
        &self.schedule.models[content.model].tensors[content.tensor]
    }

    /// What a buffer must hold a part of to hold an operand of a tile.
    pub(super) fn operand(&self, tile: &Tile, operand: &Operand) -> Content {
        let (model, request) = (tile.model, tile.request);
        let tensor = operand.tensor;
        let request = match self.schedule.models[model].tensors[tensor].kind {
            TensorKind::Weight => None,
            TensorKind::Input | TensorKind::Output | TensorKind::Activation => Some(request),
        };
        Content { model, request, tensor }
    }

    /// The part of a tensor that a tile touches through an operand; `None` where it is all padding.
    pub(super) fn touched(&self, tile: &Tile, operand: &Operand) -> Option<NdBox> {
        let shape = &self.schedule.models[tile.model].tensors[operand.tensor].shape;
        touched(operand.access.as_ref(), &tile.part, shape)
    }

    /// The boxes of those of some buffers that hold parts of a tensor.
    pub(super) fn parts_of(&self, content: Content, buffers: &[BufferId]) -> Vec<&'a NdBox> {
        buffers.iter().filter(|&&buffer| self.content(buffer) == content).map(|&buffer| self.part(buffer)).collect()
    }

    pub(super) fn named(&self, id: CommandId) -> Named<CommandId> {
        let name = match &self.schedule.commands[id] {
            Command::Compute(tile) => {
                format!("{} of {}", self.layer(tile).name, self.schedule.models[tile.model].name)
            }
            Command::Dma(transfer) => match transfer.op {
                Direction::Load => "load".to_owned(),
                Direction::Store => "store".to_owned(),
            },
        };
        Named { id, name }
    }

    pub(super) fn named_buffer(&self, id: BufferId) -> Named<BufferId> {
        let Named { id: _, name } = self.named_tensor(self.content(id));
        Named { id, name }
    }

    pub(super) fn named_tensor(&self, content: Content) -> Named<TensorId> {
        let model = &self.schedule.models[content.model];
        Named { id: content.tensor, name: format!("{} of {}", model.tensors[content.tensor].name, model.name) }
    }

    pub(super) fn named_layer(&self, run: Run) -> Named<LayerId> {
        let model = &self.schedule.models[run.model];
        Named { id: run.layer, name: format!("{} of {}", model.layers[run.layer].layer.name, model.name) }
    }
}
