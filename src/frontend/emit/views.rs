//! Values that are others seen through a map, and the layers that move elements where no map is affine.

use std::collections::BTreeSet;

use super::{Draft, Emitter, Place};
use crate::frontend::error::NodeName;
use crate::frontend::flat;
use crate::frontend::graph::{NodeId, Source, ValueId, Wrong};
use crate::frontend::ops::{self, Form, Nest, View};
use crate::frontend::view::{self, compose};
use crate::ir::{Access, Affine, Operand, TensorId, TensorKind};

/// Where the elements of a value are, whose index map would not be affine.
#[derive(Clone)]
pub(super) struct Flat {
    tensor: TensorId,
    /// The row-major position in the tensor as a function of the index in the value.
    address: Affine,
    through: Vec<NodeId>,
}

impl<'a> Emitter<'a> {
    /// Outputs that are an input seen through a map. Where there is none they wait for a reader: it may see through.
    pub(super) fn views(&mut self, node: NodeId, views: &[View]) -> Result<(), Wrong> {
        let Some((input, _)) = self.typed.input(node, 0) else { return Ok(()) };
        for (view, &output) in views.iter().zip(&self.typed.graph.nodes[node].outputs) {
            if let Some(output) = output.filter(|&output| self.uses.is_used(output))
                && !self.waits(input)
            {
                self.see(node, input, view, output)?;
            }
        }
        Ok(())
    }

    /// Whether a value is a view that has no place, nor a flat address.
    pub(super) fn waits(&self, value: ValueId) -> bool {
        let is_seen = self.places[value].is_some() || self.flats[value].is_some();
        !is_seen && !self.typed.facts[value].is_constant() && self.view_of(value).is_some()
    }

    /// Gives a view that waits a place or a flat address; if it has none, a layer moves its elements.
    pub(super) fn settle(&mut self, value: ValueId) -> Result<(), Wrong> {
        let (mut chain, mut below) = (Vec::new(), value);
        while self.waits(below)
            && let Some((node, view)) = self.view_of(below)
            && let Some((input, _)) = self.typed.input(node, 0)
        {
            chain.push((node, input, view, below));
            below = input;
        }
        for (node, input, view, output) in chain.into_iter().rev() {
            if !self.see(node, input, view, output)? {
                self.materialise(node, view, output)?;
            }
        }
        Ok(())
    }

    /// Whether an output that is an input seen through a map now has a place or a flat address.
    fn see(&mut self, node: NodeId, input: ValueId, view: &View, output: ValueId) -> Result<bool, Wrong> {
        if self.flats[input].is_none() {
            let below = self.place(input)?;
            if let Some(Ok(map)) = view.read.as_ref().map(|read| compose(&below.map, read)) {
                let through = extended(below.through, node);
                self.places[output] = Some(Place { tensor: below.tensor, map, through });
                return Ok(true);
            }
        }
        let Some(flat) = self.flat_view(node, input, view, output) else { return Ok(false) };
        let (value, tensor) = (&self.typed.facts[output].shape, &self.tensors[flat.tensor].shape);
        match flat::unflatten(&flat.address, value, tensor) {
            Some(map) => self.places[output] = Some(Place { tensor: flat.tensor, map, through: flat.through }),
            None => self.flats[output] = Some(flat),
        }
        Ok(true)
    }

    /// The view that a value is, and its node.
    pub(super) fn view_of(&self, value: ValueId) -> Option<(NodeId, &'a View)> {
        let Source::Node(node) = self.typed.graph.values[value].source else { return None };
        let Form::Views(views) = &self.typed.forms[node] else { return None };
        let index = self.typed.graph.nodes[node].outputs.iter().position(|&output| output == Some(value))?;
        Some((node, views.get(index)?))
    }

    /// The place of a value that had but a flat address: a layer moves its elements, now that one reads them.
    pub(super) fn unfold(&mut self, value: ValueId) -> Result<Place, Wrong> {
        self.flats[value] = None;
        if let Some((node, view)) = self.view_of(value) {
            self.materialise(node, view, value)?;
        }
        self.own_place(value)
    }

    /// An output of the graph is a tensor that has its elements and no others.
    pub(super) fn output(&mut self, output: ValueId) -> Result<(), Wrong> {
        let fact = &self.typed.facts[output];
        if fact.shape.contains(&0) {
            return Ok(());
        }
        let place = self.place(output)?;
        let same = view::identity(fact.rank());
        let is_own = self.tensors[place.tensor].kind == TensorKind::Output && place.map == same;
        if is_own && self.tensors[place.tensor].name == self.typed.graph.values[output].name {
            return Ok(());
        }
        let tensor = self.tensor(output, fact, TensorKind::Output)?;
        let by = match self.typed.graph.values[output].source {
            Source::Node(node) => self.typed.graph.nodes[node].name.clone(),
            Source::Input | Source::Initializer(_) => {
                let name = self.typed.graph.values[output].name.clone();
                NodeName { name, op: "Identity".into(), opset: 0 }
            }
        };
        let mut nest = Nest::vector(self.lanes(&by, ops::MOVE));
        nest.write = nest.axes(&fact.shape, |_| false);
        let access = compose(&place.map, &nest.write).ok();
        let reads = vec![Operand { tensor: place.tensor, access }];
        let write = Operand { tensor, access: Some(nest.write.clone()) };
        let draft = Draft::new(place.through.iter().copied().collect(), nest, reads);
        self.finish(by.name, by.op, draft, write);
        Ok(())
    }

    /// A layer that moves elements: a loop over `shape`, with the index in `from` and the index in `to` for each point.
    /// If the node stands for others too, they quantise what it moves.
    pub(super) fn moved(
        &mut self,
        node: NodeId,
        from: ValueId,
        shape: &[u64],
        read: Option<&Access>,
        to: ValueId,
        write: &Access,
    ) -> Result<(), Wrong> {
        let stands_for = &self.typed.stands_for[node];
        let own = if stands_for.is_empty() { ops::MOVE } else { ops::QUANTIZE };
        let mut nest = Nest::vector(self.lanes(&self.typed.graph.nodes[node].name, own));
        let all = nest.axes(shape, |_| false);
        let place = self.place(from)?;
        let access = read.and_then(|read| compose(read, &all).and_then(|at| compose(&place.map, &at)).ok());
        let nodes: BTreeSet<_> = place.through.iter().chain(stands_for).copied().chain([node]).collect();
        let draft = Draft::new(nodes, nest, vec![Operand { tensor: place.tensor, access }]);
        let written = compose(write, &all).map_err(|error| self.out_of_range(node, error))?;
        self.push(node, draft, to, &written)
    }

    /// The flat address of what a node makes of a value that has a flat address, or a place.
    fn flat_view(&self, node: NodeId, input: ValueId, view: &View, output: ValueId) -> Option<Flat> {
        let below = match (&self.flats[input], &self.places[input]) {
            (Some(flat), _) => flat.clone(),
            (None, Some(Place { tensor, map, through })) => {
                let address = flat::flatten(map, &self.tensors[*tensor].shape).ok()?;
                Flat { tensor: *tensor, address, through: through.clone() }
            }
            (None, None) => return None,
        };
        let address = match &view.read {
            Some(read) => compose(&Access(vec![below.address]), read).ok()?.0.pop()?,
            None => {
                let (from, to) = (&self.typed.facts[input].shape, &self.typed.facts[output].shape);
                flat::reshape(&below.address, from, to)?
            }
        };
        Some(Flat { tensor: below.tensor, address, through: extended(below.through, node) })
    }

    /// A layer that moves the elements of a view to a tensor of its own.
    fn materialise(&mut self, node: NodeId, view: &View, output: ValueId) -> Result<(), Wrong> {
        let Some((input, fact)) = self.typed.input(node, 0) else { return Ok(()) };
        match (&view.write, self.flats[input].clone()) {
            // The loop runs over the elements as they were, and scatters them.
            (Some(write), None) => {
                let same = view::identity(fact.rank());
                self.moved(node, input, &fact.shape, Some(&same), output, write)
            }
            (None, None) => {
                let shape = self.typed.facts[output].shape.clone();
                let same = view::identity(shape.len());
                self.moved(node, input, &shape, view.read.as_ref(), output, &same)
            }
            // Not even where the elements were is affine.
            (Some(_) | None, Some(Flat { tensor, address: _, through })) => {
                let mut nest = Nest::vector(self.lanes(&self.typed.graph.nodes[node].name, ops::MOVE));
                let all = nest.axes(&self.typed.facts[output].shape, |_| false);
                let nodes = through.into_iter().chain([node]).collect();
                let draft = Draft::new(nodes, nest, vec![Operand { tensor, access: None }]);
                self.push(node, draft, output, &all)
            }
        }
    }
}

/// The nodes that vanished into a map, with one more; no more than a reader of a layer's nodes wants to see.
fn extended(mut through: Vec<NodeId>, node: NodeId) -> Vec<NodeId> {
    if through.len() < 32 {
        through.push(node);
    }
    through
}
