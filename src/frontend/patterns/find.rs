//! Whether a node's result is what a pattern says.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pattern, Term};
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::graph::{NodeId, ValueId};
use crate::frontend::infer::TypedGraph;
use crate::frontend::ops::Form;
use crate::frontend::uses::{Uses, maker};

/// What may stand between a pattern's operators: another type of floats, and a reduced axis that is stretched again.
const SAME: &[&str] = &["Cast", "Expand"];

/// Where a pattern is.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) x: ValueId,
    /// By number.
    pub(super) weights: BTreeMap<usize, ValueId>,
    /// The shape that reductions leave.
    pub(super) reduced: Option<Vec<u64>>,
    /// The nodes that are part of it, the last one too.
    pub(super) nodes: BTreeSet<NodeId>,
}

/// The pattern whose last node this is, if it is one that nothing outside reads a part of.
pub(super) fn at(typed: &TypedGraph, uses: &Uses, root: NodeId, pattern: &Pattern) -> Option<Found> {
    let output = typed.graph.nodes[root].outputs.first().copied().flatten()?;
    let matcher = Matcher { typed };
    let Partial { x, weights, reduced, nodes } = matcher.term(&pattern.term, output, Partial::default())?;
    let x = x?;
    // A conversion behind the last operator is no part of the pattern.
    let is_last = matcher.origin(output, SAME, &mut BTreeSet::new()) == output;
    let shape = &typed.facts[x].shape;
    let is_private = |&node: &NodeId| {
        let mut outputs = typed.graph.nodes[node].outputs.iter().flatten();
        node == root
            || outputs.all(|&output| {
                !uses.is_output[output] && uses.readers[output].iter().all(|reader| nodes.contains(reader))
            })
    };
    let is_whole = is_last && nodes.iter().all(is_private) && typed.facts[output].shape == *shape;
    // A reduction of axes of size 1 reduces nothing.
    let is_reducing = reduced.as_ref().is_none_or(|reduced| reduced.len() == shape.len() && reduced != shape);
    (is_whole && is_reducing).then_some(Found { x, weights, reduced, nodes })
}

/// What is known when a part of a pattern is found.
#[derive(Clone, Default)]
struct Partial {
    x: Option<ValueId>,
    weights: BTreeMap<usize, ValueId>,
    reduced: Option<Vec<u64>>,
    nodes: BTreeSet<NodeId>,
}

struct Matcher<'a> {
    typed: &'a TypedGraph,
}

impl Matcher<'_> {
    /// More of a pattern, if a value is what a term says.
    fn term(&self, term: &Term, value: ValueId, mut found: Partial) -> Option<Partial> {
        let fact = &self.typed.facts[value];
        match term {
            Term::X => {
                let x = self.origin(value, &["Cast"], &mut BTreeSet::new());
                let is_x = !self.typed.facts[x].is_constant() && *found.x.get_or_insert(x) == x;
                is_x.then_some(found)
            }
            Term::Weight(number) => {
                let is_weight = fact.is_constant() && *found.weights.entry(*number).or_insert(value) == value;
                is_weight.then_some(found)
            }
            Term::Number => fact.is_immediate().then_some(found),
            Term::Is(number) => is_number(fact, *number).then_some(found),
            Term::Op(op, arguments) => {
                let node = self.maker(op, value, &mut found)?;
                let inputs: Vec<_> = self.typed.graph.nodes[node].inputs.iter().copied().flatten().collect();
                match (&arguments[..], &inputs[..]) {
                    ([a, b], &[first, second]) => self.pair(a, b, [first, second], &found).or_else(|| {
                        let commutes = matches!(*op, "Add" | "Mul" | "Max");
                        commutes.then(|| self.pair(a, b, [second, first], &found)).flatten()
                    }),
                    ([a], &[only]) => self.term(a, only, found),
                    _ => None,
                }
            }
            Term::Reduced(op, argument) => {
                let node = self.maker(op, value, &mut found)?;
                let output = &self.typed.facts[self.typed.graph.nodes[node].outputs.first().copied().flatten()?];
                let (input, from) = self.typed.input(node, 0)?;
                let keeps_axes = output.shape.len() == from.shape.len();
                let is_same = *found.reduced.get_or_insert_with(|| output.shape.clone()) == output.shape;
                if keeps_axes && is_same { self.term(argument, input, found) } else { None }
            }
            Term::Any(terms) => terms.iter().find_map(|term| self.term(term, value, found.clone())),
        }
    }

    fn pair(&self, a: &Term, b: &Term, [first, second]: [ValueId; 2], found: &Partial) -> Option<Partial> {
        self.term(b, second, self.term(a, first, found.clone())?)
    }

    /// The node of an operator that makes a value, as one of what is found.
    fn maker(&self, op: &str, value: ValueId, found: &mut Partial) -> Option<NodeId> {
        let node = maker(self.typed, self.origin(value, SAME, &mut found.nodes))?;
        let of = &self.typed.graph.nodes[node];
        let is_op = of.name.op == op && of.domain.is_empty() && !matches!(self.typed.forms[node], Form::Constant);
        is_op.then(|| found.nodes.insert(node))?;
        Some(node)
    }

    /// The value that another is but for some operators; they are part of what is between.
    fn origin(&self, mut value: ValueId, through: &[&str], between: &mut BTreeSet<NodeId>) -> ValueId {
        let is_float = |value: ValueId| matches!(self.typed.facts[value].element, ElementType::Float(_));
        while let Some(node) = maker(self.typed, value)
            && let Some((input, _)) = self.typed.input(node, 0)
            && through.contains(&self.typed.graph.nodes[node].name.op.as_str())
            && is_float(value)
            && is_float(input)
        {
            between.insert(node);
            value = input;
        }
        value
    }
}

/// Whether a constant of one element is a number, to 8 binary digits: rounded, it is off by half of the last.
fn is_number(fact: &Fact, number: f64) -> bool {
    let known = match (fact.as_floats(), fact.as_ints()) {
        (Some(&[float]), _) => float,
        (_, Some(&[int])) => int as f64,
        (_, _) => return false,
    };
    known.to_bits().abs_diff(number.to_bits()) <= 1 << 43
}
