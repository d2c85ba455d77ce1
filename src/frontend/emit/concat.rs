//! Concatenations: their inputs are written straight into their parts, where they are results of layers.

use super::{Emitter, Place};
use crate::frontend::fuse::Groups;
use crate::frontend::graph::{NodeId, ValueId, Wrong};
use crate::frontend::ops::{self, Form};
use crate::frontend::view::{self, compose};
use crate::ir::IdVec;

impl Emitter<'_> {
    /// Gives each concatenation its tensor, and the results of layers their parts of it. The last comes first, so that
    /// a concatenation within another has its place before its inputs ask for theirs.
    pub(super) fn place_concats(&mut self, groups: &Groups) -> Result<(), Wrong> {
        let graph = &self.typed.graph;
        let mut is_result: IdVec<ValueId, bool> = graph.values.iter().map(|_| false).collect();
        for (node, form) in self.typed.forms.iter_with_ids() {
            match (form, &groups.anchored[node]) {
                // What makes another output of it reads the whole tensor, so that it needs one of its own.
                (_, Some(group)) => {
                    let others = self.others(node);
                    is_result[group.result] = others.iter().all(|&output| self.is_alike(output, group.result));
                    others.into_iter().for_each(|output| is_result[output] = true);
                }
                (Form::Concat { axis: _ }, None) => {
                    graph.nodes[node].outputs.iter().flatten().for_each(|&output| is_result[output] = true);
                }
                (Form::Constant | Form::Nest(_) | Form::Pointwise(_) | Form::Views(_), None) => {}
            }
        }
        for node in graph.nodes.ids().rev().filter(|&node| self.uses.live[node]) {
            let Form::Concat { axis } = self.typed.forms[node] else { continue };
            let Some(output) = self.output_of(node) else { continue };
            let whole = self.place(output)?;
            for (i, first, value) in self.concat_parts(node, axis) {
                // What reads a part elsewhere needs it by its own scale.
                let is_requantised = !self.typed.stands_for[node].is_empty() && self.uses.readers[value].len() > 1;
                let is_free = self.places[value].is_none() && !self.uses.is_output[value] && !is_requantised;
                let is_constant = self.typed.facts[value].is_constant();
                if is_result[value] && is_free && !is_constant {
                    let shift = ops::shifted(self.typed.facts[value].rank(), axis, first);
                    let map = compose(&whole.map, &shift).map_err(|error| self.out_of_range(node, error))?;
                    self.places[value] = Some(Place { tensor: whole.tensor, map, through: Vec::new() });
                    self.parts[value] = Some((node, i));
                }
            }
        }
        Ok(())
    }

    /// The parts of a concatenation that no layer wrote into it are moved there.
    pub(super) fn concat(&mut self, node: NodeId, axis: usize) -> Result<(), Wrong> {
        let Some(output) = self.output_of(node) else { return Ok(()) };
        for (i, first, value) in self.concat_parts(node, axis) {
            if self.parts[value] != Some((node, i)) {
                let shape = self.typed.facts[value].shape.clone();
                let same = view::identity(shape.len());
                let shift = ops::shifted(shape.len(), axis, first);
                self.moved(node, value, &shape, Some(&same), output, &shift)?;
            }
        }
        Ok(())
    }

    /// The inputs of a concatenation that have elements: which, the first index, and the value.
    fn concat_parts(&self, node: NodeId, axis: usize) -> Vec<(usize, i64, ValueId)> {
        let mut first = 0;
        let mut parts = Vec::new();
        for i in 0..self.typed.graph.nodes[node].inputs.len() {
            let Some((value, fact)) = self.typed.input(node, i) else { continue };
            if !fact.shape.contains(&0) {
                parts.push((i, first, value));
            }
            // The sum is a dimension of the output, whose elements are bounded.
            first += i64::try_from(fact.shape[axis]).unwrap_or(0);
        }
        parts
    }
}
