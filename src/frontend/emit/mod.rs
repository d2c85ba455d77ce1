//! Tensors and layers: where each value is stored, and what each layer reads and writes there.
//!
//! A value has a place: a tensor, and the value's index map into it. A layer's result gets a tensor of its own, or its
//! part of a concatenation's. What only moves elements gets no tensor, just another map into the one that is there; if
//! the map would not be affine, a layer moves the elements. An output of the graph is a tensor of its own.

mod concat;
mod cut;
mod views;

use std::collections::BTreeSet;

use super::Options;
use super::error::NodeName;
use super::fact::Fact;
use super::fuse::{Group, Groups};
use super::graph::{NodeId, Source, ValueId, Wrong};
use super::infer::TypedGraph;
use super::ops::{self, Form, Nest, Pointwise, Read, Refusal};
use super::uses::Uses;
use super::view::{self, compose};
use crate::ir::{self, Access, DimId, IdVec, Layer, LayerId, Operand, Tensor, TensorId, TensorKind};
use views::Flat;

/// All tensors and layers of a model, and what was assumed of them.
pub(super) type Emitted = (IdVec<TensorId, Tensor>, IdVec<LayerId, Layer>, Vec<(NodeName, String)>);

/// Lays out every group, and moves what has to be moved.
pub(super) fn emit(typed: &TypedGraph, uses: &Uses, groups: &Groups, options: &Options) -> Result<Emitted, Vec<Wrong>> {
    let mut emitter = Emitter {
        typed,
        uses,
        options,
        tensors: IdVec::new(),
        layers: IdVec::new(),
        places: typed.graph.values.iter().map(|_| None).collect(),
        flats: typed.graph.values.iter().map(|_| None).collect(),
        parts: typed.graph.values.iter().map(|_| None).collect(),
        warnings: Vec::new(),
    };
    emitter.all(groups).map_err(|wrong| vec![wrong])?;
    let (tensors, layers) = numbered_by_use(emitter.tensors, emitter.layers);
    Ok((tensors, layers, emitter.warnings))
}

/// Where a value is stored.
#[derive(Clone)]
struct Place {
    tensor: TensorId,
    /// The index in the tensor as a function of the index in the value.
    map: Access,
    /// The nodes that vanished into the map.
    through: Vec<NodeId>,
}

struct Emitter<'a> {
    typed: &'a TypedGraph,
    uses: &'a Uses,
    options: &'a Options,
    tensors: IdVec<TensorId, Tensor>,
    layers: IdVec<LayerId, Layer>,
    places: IdVec<ValueId, Option<Place>>,
    /// Values without a place, whose elements lie in a tensor where no index map says.
    flats: IdVec<ValueId, Option<Flat>>,
    /// The concatenation, and which input of it, whose part a value is written into.
    parts: IdVec<ValueId, Option<(NodeId, usize)>>,
    warnings: Vec<(NodeName, String)>,
}

/// A layer that is being put together.
struct Draft {
    nodes: BTreeSet<NodeId>,
    nest: Nest,
    reads: Vec<Operand>,
    /// Lane operations of what joined, for each element of the result.
    behind: u64,
}

impl Draft {
    fn new(nodes: BTreeSet<NodeId>, nest: Nest, reads: Vec<Operand>) -> Self {
        Self { nodes, nest, reads, behind: 0 }
    }

    /// Adds an operand, unless it is there already.
    fn add(&mut self, operand: Operand) {
        if !self.reads.contains(&operand) {
            self.reads.push(operand);
        }
    }

    /// Lane operations for each point: behind a reduction, what joined runs once for as many points as are reduced to
    /// an element. Behind a product it is free.
    fn lanes(&self) -> u64 {
        let written: BTreeSet<_> =
            self.nest.write.0.iter().flat_map(|index| &index.terms).map(|&(dim, _)| dim).collect();
        let is_written = |dim: &usize| written.contains(&DimId::from(*dim));
        let reduced = (0..self.nest.dims.len()).filter(|dim| !is_written(dim)).map(|dim| self.nest.dims[dim].size);
        let reduced = reduced.fold(1u64, u64::saturating_mul);
        match self.nest.op {
            ir::Op::Vector => self.nest.lanes.saturating_add(self.behind.checked_div(reduced).unwrap_or(0)),
            ir::Op::Gemm | ir::Op::Measured => self.nest.lanes,
        }
    }
}

impl Emitter<'_> {
    fn all(&mut self, groups: &Groups) -> Result<(), Wrong> {
        self.place_concats(groups)?;
        for &node in &groups.order {
            match &self.typed.forms[node] {
                Form::Constant => {}
                Form::Nest(nest) => self.group(node, nest.clone(), groups.anchored[node].as_ref())?,
                Form::Pointwise(pointwise) => {
                    if let Some(group) = &groups.anchored[node] {
                        let nest = self.elementwise(node, pointwise);
                        self.group(node, nest, Some(group))?;
                    }
                }
                Form::Views(views) => self.views(node, views)?,
                Form::Concat { axis } => self.concat(node, *axis)?,
            }
        }
        for &output in &self.typed.graph.outputs {
            self.output(output)?;
        }
        Ok(())
    }

    /// A layer for a pointwise node that no layer before it took up.
    fn elementwise(&self, node: NodeId, pointwise: &Pointwise) -> Nest {
        let shape = self.output_of(node).map(|output| self.typed.facts[output].shape.clone()).unwrap_or_default();
        let mut nest = Nest::vector(pointwise.lanes);
        nest.write = nest.axes(&shape, |_| false);
        for operand in &pointwise.operands {
            let access = compose(&operand.access, &nest.write).ok();
            nest.reads.push(Read { source: ops::Source::Input(operand.input), access });
        }
        nest
    }

    /// The layer of an anchor and what joined it.
    fn group(&mut self, anchor: NodeId, mut nest: Nest, group: Option<&Group>) -> Result<(), Wrong> {
        let Some(group) = group else { return Ok(()) };
        if nest.op == ir::Op::Vector {
            nest.lanes = self.lanes(&self.typed.graph.nodes[anchor].name, nest.lanes);
        }
        let taken_up = nest.bias.filter(|_| self.begins_with_scale(group));
        let nodes = self.typed.stands_for[anchor].iter().copied().chain([anchor]).collect();
        let seen = self.see_through(anchor, &mut nest);
        let is_cut = seen.iter().any(Option::is_some);
        let mut draft = Draft::new(nodes, nest, Vec::new());
        for (read, seen) in std::mem::take(&mut draft.nest.reads).into_iter().zip(seen) {
            // Scaled, the bias is part of the shift that comes with the scale.
            let is_taken_up = taken_up.is_some_and(|bias| ops::input_of(&read.source) == bias);
            match seen {
                _ if is_taken_up => {}
                Some(seen) => {
                    draft.nodes.extend(seen.nodes);
                    self.operand(&mut draft, seen.value, read.access.as_ref())?;
                }
                None => self.read(&mut draft, anchor, &read)?,
            }
        }
        if is_cut && draft.nest.op == ir::Op::Gemm {
            cut::regroup(&mut draft.nest, &draft.reads);
        }
        let mut inner = vec![self.typed.graph.nodes[anchor].outputs[0]];
        for (i, member) in group.members.iter().enumerate() {
            draft.nodes.insert(member.node);
            draft.nodes.extend(&self.typed.stands_for[member.node]);
            if let Form::Pointwise(pointwise) = &self.typed.forms[member.node] {
                let takes_scale = i == 0 && taken_up.is_some();
                let at = compose(&member.position, &draft.nest.write).ok();
                self.epilogue(&mut draft, member.node, pointwise, at.as_ref(), &inner, takes_scale)?;
            }
            inner.push(self.typed.graph.nodes[member.node].outputs[0]);
        }
        let written = compose(&group.position, &draft.nest.write);
        let written = written.map_err(|error| self.out_of_range(anchor, error))?;
        self.push(anchor, draft, group.result, &written)?;
        self.other_outputs(anchor, group.result)
    }

    /// Lane operations for each point of a node's work: what the user says of its operator, or its own.
    fn lanes(&self, node: &NodeName, own: u64) -> u64 {
        self.options.operations.get(&node.op).copied().unwrap_or(own)
    }

    /// The outputs of a nest but the first: statistics, indices, last states. A layer each, of one operation for an
    /// element, that needs all of the first or, where that has the same shape, the same element.
    fn other_outputs(&mut self, node: NodeId, first: ValueId) -> Result<(), Wrong> {
        for output in self.others(node) {
            let mut nest = Nest::vector(ops::MOVE);
            let all = nest.axes(&self.typed.facts[output].shape, |_| false);
            let Place { tensor, map, through: _ } = self.place(first)?;
            let access = if self.is_alike(output, first) { compose(&map, &all).ok() } else { None };
            let reads = vec![Operand { tensor, access }];
            self.push(node, Draft::new(BTreeSet::from([node]), nest, reads), output, &all)?;
            let name = &self.typed.graph.values[output].name;
            let what = format!("has its output '{name}' costed as one vector operation for each element");
            self.warnings.push((self.typed.graph.nodes[node].name.clone(), what));
        }
        Ok(())
    }

    /// The outputs of a node but the first that somebody needs.
    fn others(&self, node: NodeId) -> Vec<ValueId> {
        let is_needed = |&output: &ValueId| self.uses.is_used(output) && !self.typed.facts[output].is_constant();
        self.typed.graph.nodes[node].outputs.iter().skip(1).flatten().copied().filter(is_needed).collect()
    }

    fn is_alike(&self, one: ValueId, other: ValueId) -> bool {
        self.typed.facts[one].shape == self.typed.facts[other].shape
    }

    /// Whether a group's first node scales each channel.
    fn begins_with_scale(&self, group: &Group) -> bool {
        group.members.first().is_some_and(|member| match &self.typed.forms[member.node] {
            Form::Pointwise(pointwise) => pointwise.operands.iter().any(|operand| operand.is_scale),
            Form::Constant | Form::Nest(_) | Form::Views(_) | Form::Concat { axis: _ } => false,
        })
    }

    /// What a pointwise node adds to the layer that it joined. `at` is its element for each iteration.
    fn epilogue(
        &mut self,
        draft: &mut Draft,
        node: NodeId,
        pointwise: &Pointwise,
        at: Option<&Access>,
        inner: &[Option<ValueId>],
        takes_scale: bool,
    ) -> Result<(), Wrong> {
        draft.behind = draft.behind.saturating_add(self.lanes(&self.typed.graph.nodes[node].name, pointwise.lanes));
        for operand in &pointwise.operands {
            let value = self.typed.graph.nodes[node].inputs[operand.input];
            let is_taken_up = inner.contains(&value) || (operand.is_scale && takes_scale);
            if !is_taken_up {
                let access = at.and_then(|at| compose(&operand.access, at).ok());
                let read = Read { source: ops::Source::Input(operand.input), access };
                self.read(draft, node, &read)?;
            }
        }
        Ok(())
    }

    /// Adds what is read, unless it is part of the instruction, or empty.
    fn read(&mut self, draft: &mut Draft, node: NodeId, read: &Read) -> Result<(), Wrong> {
        let Some((value, fact)) = self.typed.input(node, ops::input_of(&read.source)) else { return Ok(()) };
        if fact.is_immediate() || fact.elements() == Some(0) {
            return Ok(());
        }
        match &read.source {
            ops::Source::Input(_) => self.operand(draft, value, read.access.as_ref()),
            ops::Source::Rows { table: _, shape } => {
                let rows = Fact { shape: shape.clone(), ..fact.clone() };
                let tensor = self.tensor(value, &rows, TensorKind::Weight)?;
                draft.add(Operand { tensor, access: read.access.clone() });
                Ok(())
            }
        }
    }

    /// Adds a value as an operand, by its element for each iteration.
    fn operand(&mut self, draft: &mut Draft, value: ValueId, access: Option<&Access>) -> Result<(), Wrong> {
        let place = self.place(value)?;
        draft.nodes.extend(&place.through);
        let access = access.and_then(|access| compose(&place.map, access).ok());
        draft.add(Operand { tensor: place.tensor, access });
        Ok(())
    }

    /// Adds a layer that writes `result`, at `written` for each iteration.
    fn push(&mut self, node: NodeId, draft: Draft, result: ValueId, written: &Access) -> Result<(), Wrong> {
        let place = self.own_place(result)?;
        let access = compose(&place.map, written).map_err(|error| self.out_of_range(node, error))?;
        let write = Operand { tensor: place.tensor, access: Some(access) };
        let NodeName { name, op, opset: _ } = self.typed.graph.nodes[node].name.clone();
        self.finish(name, op, draft, write);
        Ok(())
    }

    fn finish(&mut self, name: String, kind: String, draft: Draft, write: Operand) {
        let lane_operations = draft.lanes();
        let Draft { nodes, nest, reads, behind: _ } = draft;
        self.layers.push(Layer {
            name,
            kind,
            nodes: nodes.into_iter().map(|node| self.typed.graph.nodes[node].name.name.clone()).collect(),
            op: nest.op,
            dims: nest.dims,
            lane_operations,
            reads,
            write: Some(write),
        });
    }

    /// The place of a value, whether it is stored as it is or seen in another.
    fn place(&mut self, value: ValueId) -> Result<Place, Wrong> {
        if self.waits(value) {
            self.settle(value)?;
        }
        if self.flats[value].is_some() { self.unfold(value) } else { self.own_place(value) }
    }

    /// The place of a value that is stored as it is; a tensor of its own if it has none yet.
    fn own_place(&mut self, value: ValueId) -> Result<Place, Wrong> {
        if let Some(place) = &self.places[value] {
            return Ok(place.clone());
        }
        let fact = &self.typed.facts[value];
        let kind = match self.typed.graph.values[value].source {
            Source::Node(_) | Source::Initializer(_) if fact.is_constant() => TensorKind::Weight,
            Source::Input => TensorKind::Input,
            Source::Node(_) if self.uses.is_output[value] => TensorKind::Output,
            Source::Node(_) | Source::Initializer(_) => TensorKind::Activation,
        };
        let tensor = self.tensor(value, fact, kind)?;
        let place = Place { tensor, map: view::identity(fact.rank()), through: Vec::new() };
        self.places[value] = Some(place.clone());
        Ok(place)
    }

    fn tensor(&mut self, value: ValueId, fact: &Fact, kind: TensorKind) -> Result<TensorId, Wrong> {
        let name = &self.typed.graph.values[value].name;
        let Some(element_bits) = fact.bits(self.options.float_bits.of(kind)) else {
            let what = format!("has tensor '{name}' of text or complex numbers, or a sequence");
            let refusal = Refusal::mended(what, "take that part out of the model");
            return Err(match self.typed.graph.values[value].source {
                Source::Node(node) => self.typed.refused(node, refusal),
                Source::Input | Source::Initializer(_) => (None, refusal.into()),
            });
        };
        Ok(self.tensors.push(Tensor { name: name.clone(), shape: fact.shape.clone(), element_bits, kind }))
    }

    fn output_of(&self, node: NodeId) -> Option<ValueId> {
        self.typed.graph.nodes[node].outputs.first().copied().flatten()
    }

    fn out_of_range(&self, node: NodeId, error: view::OutOfRange) -> Wrong {
        self.typed.refused(node, error.into())
    }
}

/// The tensors that layers touch, in the order in which they first do.
fn numbered_by_use(
    tensors: IdVec<TensorId, Tensor>,
    mut layers: IdVec<LayerId, Layer>,
) -> (IdVec<TensorId, Tensor>, IdVec<LayerId, Layer>) {
    let mut new_ids: IdVec<TensorId, Option<TensorId>> = tensors.iter().map(|_| None).collect();
    let mut used = IdVec::new();
    for layer in layers.iter_mut() {
        for operand in layer.reads.iter_mut().chain(&mut layer.write) {
            let old = operand.tensor;
            let id = *new_ids[old].get_or_insert_with(|| used.push(tensors[old].clone()));
            operand.tensor = id;
        }
    }
    (used, layers)
}
