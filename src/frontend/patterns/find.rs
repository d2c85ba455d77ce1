//! Whether a node's result is what a pattern says.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pattern, Term};
use crate::frontend::fact::{ElementType, Fact};
use crate::frontend::graph::{NodeId, ValueId};
use crate::frontend::infer::TypedGraph;
use crate::frontend::ops::Form;
use crate::frontend::uses::{Uses, maker};

/// What may stand between a pattern's operators: another type of floats, a reduced axis that is stretched again, and
/// pairs of quantisation.
const SAME: &[&str] = &["Cast", "Expand", "QuantizeLinear", "DequantizeLinear"];

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
    // A conversion behind the last operator is no part of the pattern.
    if SAME.contains(&typed.graph.nodes[root].name.op.as_str()) {
        return None;
    }
    let found = Matcher { typed }.term(&pattern.term, output, Partial::default())?;
    let Partial { x: Some(x), weights, reduced, nodes } = found else { return None };
    let shape = &typed.facts[x].shape;
    let is_private = |&node: &NodeId| {
        let mut outputs = typed.graph.nodes[node].outputs.iter().flatten();
        node == root
            || outputs.all(|&output| {
                !uses.is_output[output] && uses.readers[output].iter().all(|reader| nodes.contains(reader))
            })
    };
    let is_whole = nodes.iter().all(is_private) && typed.facts[output].shape == *shape;
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
                let x = self.origin(value, &["Cast", "DequantizeLinear"], &mut BTreeSet::new());
                let is_x = !self.typed.facts[x].is_constant() && *found.x.get_or_insert(x) == x;
                is_x.then_some(found)
            }
            Term::Weight(number) => {
                let is_weight = fact.is_constant() && *found.weights.entry(*number).or_insert(value) == value;
                is_weight.then_some(found)
            }
            Term::Number => fact.is_immediate().then_some(found),
            Term::Is(number) => is_number(fact, *number).then_some(found),
            Term::All(number) => is_everywhere(fact, *number).then_some(found),
            Term::Constant => fact.is_constant().then_some(found),
            Term::Given(number) => {
                let is_given = *found.weights.entry(*number).or_insert(value) == value;
                is_given.then_some(found)
            }
            Term::InGroups => self.in_groups(value, found),
            Term::Turned => self.turned(value, found),
            Term::Op(op, arguments) => {
                let node = self.maker(op, value, &mut found)?;
                let inputs = &self.typed.graph.nodes[node].inputs;
                let given = inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
                let inputs = inputs[..given].iter().copied().collect::<Option<Vec<_>>>()?;
                self.all(arguments, &inputs, &found).or_else(|| match (*op, &inputs[..]) {
                    ("Add" | "Mul" | "Max", &[first, second]) => self.all(arguments, &[second, first], &found),
                    (_, _) => None,
                })
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

    /// More of a pattern, if each value is what its term says.
    fn all(&self, terms: &[Term], values: &[ValueId], found: &Partial) -> Option<Partial> {
        let found = (terms.len() == values.len()).then(|| found.clone())?;
        terms.iter().zip(values).try_fold(found, |found, (term, &value)| self.term(term, value, found))
    }

    /// The input's channels as rows, one for each group: what is reduced is all that has no group of its own.
    fn in_groups(&self, value: ValueId, mut found: Partial) -> Option<Partial> {
        let node = self.maker("Reshape", value, &mut found)?;
        let (input, from) = self.typed.input(node, 0)?;
        let (&[batch, channels, ..], &[rows, groups, _]) = (&from.shape[..], &self.typed.facts[value].shape[..]) else {
            return None;
        };
        let is_grouped = rows == batch && groups > 0 && channels.is_multiple_of(groups) && found.reduced.is_none();
        found.reduced = Some([batch].into_iter().chain(from.shape[1..].iter().map(|_| 1)).collect());
        if is_grouped { self.term(&Term::X, input, found) } else { None }
    }

    /// The input's last axis as pairs that are turned by a right angle: of two parts that are seen of it one is negated,
    /// and they are put together the other way round. Halves, or every other element.
    fn turned(&self, value: ValueId, mut found: Partial) -> Option<Partial> {
        let shape = &self.typed.facts[value].shape;
        let mut whole = self.origin(value, SAME, &mut found.nodes);
        let concat = loop {
            let node = maker(self.typed, whole)?;
            found.nodes.insert(node);
            match self.typed.forms[node] {
                Form::Concat { axis: _ } => break node,
                Form::Views(_) => whole = self.origin(self.typed.input(node, 0)?.0, SAME, &mut found.nodes),
                Form::Constant | Form::Nest(_) | Form::Pointwise(_) => return None,
            }
        };
        let &[Some(first), Some(second)] = &self.typed.graph.nodes[concat].inputs[..] else { return None };
        let is_negated = [first, second].map(|part| self.is_negated_part(part, shape, &mut found));
        let [Some(first), Some(second)] = is_negated else { return None };
        found.reduced = Some([&shape[..shape.len().checked_sub(1)?], &[1]].concat());
        (first != second).then_some(found)
    }

    /// Whether a part that is seen of the input, which has this shape, is negated; `None` if it is no such part.
    fn is_negated_part(&self, mut part: ValueId, shape: &[u64], found: &mut Partial) -> Option<bool> {
        let mut is_negated = false;
        while self.typed.facts[part].shape != shape {
            let node = maker(self.typed, part)?;
            let op = self.typed.graph.nodes[node].name.op.as_str();
            let is_passed = matches!(self.typed.forms[node], Form::Views(_)) || SAME.contains(&op);
            (is_passed || op == "Neg").then_some(())?;
            is_negated ^= op == "Neg";
            found.nodes.insert(node);
            part = self.typed.input(node, 0)?.0;
        }
        let x = self.origin(part, &["Cast", "DequantizeLinear"], &mut BTreeSet::new());
        let is_x = !self.typed.facts[x].is_constant() && *found.x.get_or_insert(x) == x;
        is_x.then_some(is_negated)
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
        while let Some((node, input)) = self.passed(value, through) {
            between.insert(node);
            value = input;
        }
        value
    }

    /// The node that makes a value, if it is of one of these operators and may be passed, and what it is made of.
    fn passed(&self, value: ValueId, through: &[&str]) -> Option<(NodeId, ValueId)> {
        let node = maker(self.typed, value)?;
        let (input, _) = self.typed.input(node, 0)?;
        let op = self.typed.graph.nodes[node].name.op.as_str();
        let is_float = |value: ValueId| matches!(self.typed.facts[value].element, ElementType::Float(_));
        let is_quantisation = matches!(op, "QuantizeLinear" | "DequantizeLinear");
        let is_same = is_quantisation || (is_float(value) && is_float(input));
        (through.contains(&op) && is_same).then_some((node, input))
    }
}

/// Whether a constant of one element is a number.
fn is_number(fact: &Fact, number: f64) -> bool {
    match (fact.as_floats(), fact.as_ints()) {
        (Some(&[float]), _) => is_near(float, number),
        (_, Some(&[int])) => is_near(int as f64, number),
        (_, _) => false,
    }
}

/// Whether a constant has a number everywhere.
fn is_everywhere(fact: &Fact, number: f64) -> bool {
    fact.as_floats().is_some_and(|floats| floats.iter().all(|&float| is_near(float, number)))
}

/// Whether two numbers agree to 8 binary digits: what is rounded to so many is off by half of the last.
fn is_near(one: f64, other: f64) -> bool {
    one.to_bits().abs_diff(other.to_bits()) <= 1 << 43
}
