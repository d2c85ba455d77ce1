//! A fact for every value and a form for every node, from first to last.

use super::Options;
use super::control;
use super::error::{Kind, NodeName};
use super::expand::{Choice, Decision};
use super::fact::{ElementType, Fact, Known};
use super::graph::{Graph, Node, NodeId, Source, Value, ValueId, Wrong};
use super::inputs::{self, Inputs, Names};
use super::ops::{self, Context, Form, Lowered, Note, Refusal};
use super::proto::{TensorShapeProto, type_proto};
use crate::ir::IdVec;

/// A graph of which everything is known that can be before it runs.
pub(super) struct TypedGraph {
    pub(super) graph: Graph,
    pub(super) facts: IdVec<ValueId, Fact>,
    pub(super) forms: IdVec<NodeId, Form>,
    /// Other nodes whose work a node's form says too.
    pub(super) stands_for: IdVec<NodeId, Vec<NodeId>>,
    /// What the user should know, by node where it is one's matter.
    pub(super) warnings: Vec<(NodeName, String)>,
    /// What the user can give sizes to.
    pub(super) names: Names,
}

/// Why a graph has no facts of all its values.
pub(super) enum Untyped {
    Wrong(Vec<Wrong>),
    /// Nodes have bodies, which are now to take their place; and what was assumed.
    Decided(Vec<Decision>, Vec<(NodeName, String)>),
}

impl TypedGraph {
    /// Runs every operator's rule. Where one fails, those that do not need its result run on, so that all errors come
    /// at once.
    pub(super) fn new(graph: Graph, options: &Options) -> Result<Self, Untyped> {
        let mut inference = Inference {
            options,
            facts: graph.values.iter().map(|_| None).collect(),
            warnings: Vec::new(),
            wrong: Vec::new(),
            decisions: Vec::new(),
            assumed: Vec::new(),
        };
        let names = inference.sources(&graph);
        let forms = graph.nodes.ids().map(|id| inference.node(&graph, id)).collect();
        inference.check_declared(&graph);
        let Inference { options: _, facts, warnings, wrong, mut decisions, assumed } = inference;
        if !decisions.is_empty() {
            decisions.sort_by_key(|decision| decision.position);
            return Err(Untyped::Decided(decisions, assumed));
        }
        let facts: Option<IdVec<ValueId, Fact>> = facts.into_iter().collect::<Option<Vec<_>>>().map(IdVec::from_iter);
        match facts {
            Some(facts) if wrong.is_empty() => {
                let stands_for = graph.nodes.iter().map(|_| Vec::new()).collect();
                Ok(Self { graph, facts, forms, stands_for, warnings, names })
            }
            Some(_) | None => Err(Untyped::Wrong(wrong)),
        }
    }

    /// The fact of a node's input that is there.
    pub(super) fn input(&self, node: NodeId, index: usize) -> Option<(ValueId, &Fact)> {
        let value = (*self.graph.nodes[node].inputs.get(index)?)?;
        Some((value, &self.facts[value]))
    }

    /// Lets two nodes change places: each does at the other's what it did at its own, and makes the other's outputs.
    pub(super) fn swap_work(&mut self, a: NodeId, b: NodeId) {
        self.graph.nodes.swap(a, b);
        let [a_outputs, b_outputs] = [a, b].map(|node| std::mem::take(&mut self.graph.nodes[node].outputs));
        self.graph.nodes[a].outputs = b_outputs;
        self.graph.nodes[b].outputs = a_outputs;
        self.forms.swap(a, b);
        self.stands_for.swap(a, b);
    }
}

struct Inference<'a> {
    options: &'a Options,
    /// `None` of what depends on an error.
    facts: IdVec<ValueId, Option<Fact>>,
    warnings: Vec<(NodeName, String)>,
    wrong: Vec<Wrong>,
    decisions: Vec<Decision>,
    assumed: Vec<(NodeName, String)>,
}

impl Inference<'_> {
    /// Facts of inputs and initializers.
    fn sources(&mut self, graph: &Graph) -> Names {
        let mut inputs = Inputs::new(self.options);
        for (id, value) in graph.values.iter_with_ids() {
            self.facts[id] = match &value.source {
                Source::Node(_) => continue,
                Source::Input => inputs.fact(value).map(empty_is_constant),
                Source::Initializer(Some(fact)) => Some(empty_is_constant(fact.clone())),
                Source::Initializer(None) => {
                    let what = format!("has initializer '{}' with an unknown type or a shape out of range", value.name);
                    self.wrong.push((None, Refusal::new(what).into()));
                    None
                }
            };
        }
        let (names, wrong) = inputs.finish();
        self.wrong.splice(0..0, wrong);
        names
    }

    /// The form of a node, and facts of its outputs.
    fn node(&mut self, graph: &Graph, id: NodeId) -> Form {
        let node = &graph.nodes[id];
        let opset = graph.opsets.get(&node.domain).copied().unwrap_or(1);
        let op = ops::find(node);
        if op.is_none() && !control::is_control(node) && self.declared_outputs(graph, node).is_none() {
            self.note_unknown(node, opset);
            return Form::Constant;
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            match input.map(|value| self.facts[value].as_ref()) {
                None => inputs.push(None),
                Some(Some(fact)) => inputs.push(Some(fact)),
                Some(None) => return Form::Constant,
            }
        }
        if control::is_control(node) {
            match control::decide(node, &inputs, opset, self.options) {
                Ok((decision, note)) => self.decide(node, decision, note),
                Err(refusal) => self.wrong.push((Some(node.name.clone()), refusal.into())),
            }
            return Form::Constant;
        }
        // Without inputs, an operator that is no constant makes random numbers.
        let all_constant = !inputs.is_empty() && inputs.iter().flatten().all(|fact| fact.is_constant());
        let cx = Context::new(node, inputs, opset);
        let lowered = match op {
            Some(op) if opset < op.since => Err(Refusal::new(format!(
                "has the form of operator set {opset}, of which the oldest that is known is {}",
                op.since
            ))),
            Some(op) => (op.lower)(&cx),
            None => Ok(ops::unknown(&cx, self.declared_outputs(graph, node).unwrap_or_default())),
        };
        match lowered {
            Ok(Lowered { outputs: _, form: _, warning, body: Some(body) }) if !all_constant => {
                let choice = Choice::Body(body.into_graph());
                self.decide(node, Decision { position: node.position, choice }, warning);
                Form::Constant
            }
            Ok(lowered) => self.settle(node, lowered, all_constant),
            Err(refusal) => {
                let Refusal { what, mend } = refusal;
                let what = format!("{what} (operator set {opset}, {})", cx.seen());
                self.wrong.push((Some(node.name.clone()), Refusal { what, mend }.into()));
                Form::Constant
            }
        }
    }

    fn decide(&mut self, node: &Node, decision: Decision, note: Option<Note>) {
        self.decisions.push(decision);
        if let Some(Note::Size(what) | Note::Cost(what)) = note {
            self.assumed.push((node.name.clone(), what));
        }
    }

    /// Notes the facts of a node's outputs; what needs constants alone is one.
    fn settle(&mut self, node: &Node, lowered: Lowered, all_constant: bool) -> Form {
        let Lowered { outputs, form, warning, body: _ } = lowered;
        // A sum of nothing is a constant too.
        let is_constant = all_constant || matches!(form, Form::Constant) || has_no_points(&form);
        for (i, &output) in node.outputs.iter().enumerate() {
            let Some(output) = output else { continue };
            let fact = match outputs.get(i) {
                Some(fact) if fact.elements().is_some() => fact.clone(),
                Some(_) => return self.refuse(node, format!("makes an output {i} that is too large")),
                None => return self.refuse(node, format!("has an output {i} that is not known")),
            };
            let fact = if is_constant { made_constant(fact) } else { empty_is_constant(fact) };
            self.facts[output] = Some(fact);
        }
        let is_constant = is_constant || outputs.iter().all(|fact| fact.shape.contains(&0));
        match warning {
            Some(Note::Size(what)) => self.warnings.push((node.name.clone(), what)),
            Some(Note::Cost(what)) if !is_constant => self.warnings.push((node.name.clone(), what)),
            Some(Note::Cost(_)) | None => {}
        }
        if is_constant { Form::Constant } else { form }
    }

    fn refuse(&mut self, node: &Node, what: String) -> Form {
        self.wrong.push((Some(node.name.clone()), Refusal::new(what).into()));
        Form::Constant
    }

    /// Each unknown operator once, with the first node that has it.
    fn note_unknown(&mut self, node: &Node, opset: i64) {
        let domain = if node.domain.is_empty() { "ai.onnx" } else { &node.domain };
        let is_same = |(other, kind): &Wrong| {
            let same_op = other.as_ref().is_some_and(|other| other.op == node.name.op);
            same_op && matches!(kind, Kind::UnknownOperator { domain: other, opset: _ } if other == domain)
        };
        if !self.wrong.iter().any(is_same) {
            let kind = Kind::UnknownOperator { domain: domain.to_owned(), opset };
            self.wrong.push((Some(node.name.clone()), kind));
        }
    }

    /// What the file says of the outputs of a node, where it says all and the node has no graphs in it, whose work
    /// nobody knows.
    fn declared_outputs(&self, graph: &Graph, node: &Node) -> Option<Vec<Fact>> {
        if node.attributes.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
            return None;
        }
        node.outputs.iter().map(|&value| self.declared(&graph.values[value?])).collect()
    }

    fn declared(&self, value: &Value) -> Option<Fact> {
        let Some(type_proto::Value::TensorType(tensor)) = &value.declared.as_ref()?.value else { return None };
        let sizes = self.declared_sizes(tensor.shape.as_ref()?);
        Some(Fact::at_run_time(
            sizes.into_iter().collect::<Option<_>>()?,
            ElementType::from_onnx(tensor.elem_type.into())?,
        ))
    }

    /// The sizes that a shape has, where it says them or the user does.
    fn declared_sizes(&self, shape: &TensorShapeProto) -> Vec<Option<u64>> {
        shape.dim.iter().map(|dim| inputs::size_of(dim, self.options)).collect()
    }

    /// Warns where the file says another shape than ours.
    fn check_declared(&mut self, graph: &Graph) {
        for (id, value) in graph.values.iter_with_ids() {
            let (Some(fact), Source::Node(node)) = (&self.facts[id], &value.source) else { continue };
            let declared = value.declared.as_ref().and_then(|declared| declared.value.as_ref());
            let Some(type_proto::Value::TensorType(tensor)) = declared else { continue };
            let Some(shape) = &tensor.shape else { continue };
            let sizes = self.declared_sizes(shape);
            let agrees = sizes.len() == fact.rank()
                && sizes.iter().zip(&fact.shape).all(|(declared, &ours)| declared.is_none_or(|size| size == ours));
            if !agrees {
                let ours = ops::shown(&fact.shape);
                let what =
                    format!("makes '{}' of shape {ours}, though the file declares another; ours stands", value.name);
                self.warnings.push((graph.nodes[*node].name.clone(), what));
            }
        }
    }
}

fn made_constant(fact: Fact) -> Fact {
    match fact.known {
        Known::AtRunTime => Fact { known: Known::Constant, ..fact },
        Known::Constant | Known::Narrow(_) | Known::Ints(_) | Known::Floats(_) | Known::Sequence(_) => fact,
    }
}

fn has_no_points(form: &Form) -> bool {
    match form {
        Form::Nest(nest) => nest.dims.iter().any(|dim| dim.size == 0),
        Form::Constant | Form::Pointwise(_) | Form::Views(_) | Form::Concat { axis: _ } => false,
    }
}

/// A tensor without elements needs no computing.
fn empty_is_constant(fact: Fact) -> Fact {
    if fact.shape.contains(&0) { made_constant(fact) } else { fact }
}
