//! A fact for every value and a form for every node, from first to last.

use super::Options;
use super::error::{Kind, NodeName};
use super::fact::{ElementType, Fact, Known};
use super::graph::{Graph, Node, NodeId, Source, Value, ValueId, Wrong};
use super::ops::{self, Context, Form, Lowered, Refusal};
use super::proto::{TensorShapeProto, tensor_shape_proto::dimension, type_proto};
use crate::ir::IdVec;

/// A graph of which everything is known that can be before it runs.
pub(super) struct TypedGraph {
    pub(super) graph: Graph,
    pub(super) facts: IdVec<ValueId, Fact>,
    pub(super) forms: IdVec<NodeId, Form>,
    /// What the user should know, by node where it is one's matter.
    pub(super) warnings: Vec<(NodeName, String)>,
}

impl TypedGraph {
    /// Runs every operator's rule. Where one fails, those that do not need its result run on, so that all errors come
    /// at once.
    pub(super) fn new(graph: Graph, options: &Options) -> Result<Self, Vec<Wrong>> {
        let mut inference = Inference {
            options,
            facts: graph.values.iter().map(|_| None).collect(),
            warnings: Vec::new(),
            wrong: Vec::new(),
            unbound: Vec::new(),
        };
        inference.sources(&graph);
        let forms = graph.nodes.ids().map(|id| inference.node(&graph, id)).collect();
        inference.check_declared(&graph);
        let Inference { options: _, facts, warnings, mut wrong, unbound } = inference;
        if !unbound.is_empty() {
            wrong.insert(0, (None, Kind::UnboundDims(unbound)));
        }
        let facts: Option<IdVec<ValueId, Fact>> = facts.into_iter().collect::<Option<Vec<_>>>().map(IdVec::from_iter);
        match facts {
            Some(facts) if wrong.is_empty() => Ok(Self { graph, facts, forms, warnings }),
            Some(_) | None => Err(wrong),
        }
    }

    /// The fact of a node's input that is there.
    pub(super) fn input(&self, node: NodeId, index: usize) -> Option<(ValueId, &Fact)> {
        let value = (*self.graph.nodes[node].inputs.get(index)?)?;
        Some((value, &self.facts[value]))
    }
}

struct Inference<'a> {
    options: &'a Options,
    /// `None` of what depends on an error.
    facts: IdVec<ValueId, Option<Fact>>,
    warnings: Vec<(NodeName, String)>,
    wrong: Vec<Wrong>,
    /// Names of dimensions without a size, in the order in which they are met.
    unbound: Vec<String>,
}

impl Inference<'_> {
    /// Facts of inputs and initializers.
    fn sources(&mut self, graph: &Graph) {
        for (id, value) in graph.values.iter_with_ids() {
            let fact = match &value.source {
                Source::Node(_) => continue,
                Source::Input => self.input(value),
                Source::Initializer(fact) => fact.clone().ok_or_else(|| {
                    let what = format!("has initializer '{}' with an unknown type or a shape out of range", value.name);
                    Some(Refusal::new(what))
                }),
            };
            match fact {
                Ok(fact) => self.facts[id] = Some(empty_is_constant(fact)),
                Err(Some(refusal)) => self.wrong.push((None, refused(refusal))),
                Err(None) => {}
            }
        }
    }

    /// The fact of a graph's input; an error that has no text yet where only named dimensions are unbound.
    fn input(&mut self, value: &Value) -> Result<Fact, Option<Refusal>> {
        let refuse = |what: &str| Some(Refusal::dynamic(format!("has input '{}' {what}", value.name)));
        let declared = value.declared.as_ref().and_then(|declared| declared.value.as_ref());
        let Some(type_proto::Value::TensorType(tensor)) = declared else {
            return Err(refuse("that is no tensor"));
        };
        let element = ElementType::from_onnx(tensor.elem_type.into()).ok_or_else(|| refuse("of an unknown type"))?;
        let shape = tensor.shape.as_ref().ok_or_else(|| refuse("without a shape"))?;
        let mut sizes = Vec::new();
        let unbound = self.unbound.len();
        for dim in &shape.dim {
            match &dim.value {
                Some(dimension::Value::DimValue(size @ 1..)) => sizes.push(size.unsigned_abs()),
                Some(dimension::Value::DimParam(name)) if !name.is_empty() => match self.options.dims.get(name) {
                    Some(&size @ 1..) => sizes.push(size),
                    Some(0) | None => self.note_unbound(name),
                },
                Some(dimension::Value::DimParam(_) | dimension::Value::DimValue(_)) | None => {
                    return Err(refuse(&format!("whose dimension {} has neither size nor name", sizes.len())));
                }
            }
        }
        let fact = Fact::at_run_time(sizes, element);
        match fact.elements() {
            _ if self.unbound.len() > unbound || fact.rank() < shape.dim.len() => Err(None),
            Some(_) => Ok(fact),
            None => Err(refuse("that is too large")),
        }
    }

    fn note_unbound(&mut self, name: &str) {
        if !self.unbound.iter().any(|known| known == name) {
            self.unbound.push(name.to_owned());
        }
    }

    /// The form of a node, and facts of its outputs.
    fn node(&mut self, graph: &Graph, id: NodeId) -> Form {
        let node = &graph.nodes[id];
        let opset = graph.opsets.get(&node.domain).copied().unwrap_or(1);
        let op = ops::find(node);
        if op.is_none() && self.declared_outputs(graph, node).is_none() {
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
        let all_constant = inputs.iter().flatten().all(|fact| fact.is_constant());
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
            Ok(lowered) => self.settle(node, lowered, all_constant),
            Err(refusal) => {
                self.wrong.push((Some(node.name.clone()), refused(refusal)));
                Form::Constant
            }
        }
    }

    /// Notes the facts of a node's outputs; what needs constants alone is one.
    fn settle(&mut self, node: &Node, lowered: Lowered, all_constant: bool) -> Form {
        let Lowered { outputs, form, warning } = lowered;
        let is_constant = all_constant || matches!(form, Form::Constant);
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
        let is_empty = outputs.iter().all(|fact| fact.shape.contains(&0));
        if is_constant || is_empty {
            return Form::Constant;
        }
        self.warnings.extend(warning.map(|warning| (node.name.clone(), warning)));
        form
    }

    fn refuse(&mut self, node: &Node, what: String) -> Form {
        self.wrong.push((Some(node.name.clone()), refused(Refusal::new(what))));
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
        let size = |dim: &super::proto::tensor_shape_proto::Dimension| match dim.value.as_ref()? {
            dimension::Value::DimValue(size) => u64::try_from(*size).ok().filter(|&size| size > 0),
            dimension::Value::DimParam(name) => self.options.dims.get(name).copied(),
        };
        shape.dim.iter().map(size).collect()
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

fn refused(refusal: Refusal) -> Kind {
    Kind::Refused { what: refusal.what, mend: refusal.mend.to_owned() }
}

fn made_constant(fact: Fact) -> Fact {
    match fact.known {
        Known::AtRunTime => Fact { known: Known::Constant, ..fact },
        Known::Constant | Known::Ints(_) => fact,
    }
}

/// A tensor without elements needs no computing.
fn empty_is_constant(fact: Fact) -> Fact {
    if fact.shape.contains(&0) { made_constant(fact) } else { fact }
}
