//! A fact for every value and a form for every node, from first to last.

mod declared;

use std::collections::BTreeSet;

use super::Options;
use super::control;
use super::dims::Dims;
use super::error::{Kind, NodeName};
use super::expand::{Choice, Decision, Loops};
use super::fact::{Fact, Known};
use super::graph::{Graph, Node, NodeId, Source, ValueId, Wrong};
use super::inputs::{Inputs, Names};
use super::ops::{self, Context, Form, Given, Lowered, Note, Op, Refusal};
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
    /// What the user can give of its nodes.
    pub(super) met: Names,
}

/// Why a graph has no facts of all its values.
pub(super) enum Untyped {
    Wrong(Vec<Wrong>),
    /// Nodes have bodies, which are now to take their place.
    Decided {
        decisions: Vec<Decision>,
        /// What was assumed.
        warnings: Vec<(NodeName, String)>,
        /// What the user can give of them.
        met: Names,
    },
}

impl TypedGraph {
    /// Runs every operator's rule. Where one fails, those that do not need its result run on, so that all errors come
    /// at once.
    pub(super) fn new(graph: Graph, options: &Options, dims: &Dims, loops: &Loops) -> Result<Self, Untyped> {
        let mut inference = Inference {
            options,
            dims,
            loops,
            facts: graph.values.iter().map(|_| None).collect(),
            warnings: Vec::new(),
            wrong: Vec::new(),
            decisions: Vec::new(),
            assumed: Vec::new(),
            met: Names::default(),
            bounded: None,
        };
        inference.sources(&graph);
        if let (Some(what), Some(node)) =
            (graph.opsets.assumed(), graph.nodes.iter().find(|node| node.domain.is_empty()))
        {
            inference.warnings.push((node.name.clone(), what));
        }
        let forms = graph.nodes.ids().map(|id| inference.node(&graph, id)).collect();
        inference.check_declared(&graph);
        let Inference { facts, warnings, wrong, mut decisions, assumed, met, .. } = inference;
        if !decisions.is_empty() {
            decisions.sort_by_key(|decision| decision.position);
            return Err(Untyped::Decided { decisions, warnings: assumed, met });
        }
        let facts: Option<IdVec<ValueId, Fact>> = facts.into_iter().collect::<Option<Vec<_>>>().map(IdVec::from_iter);
        match facts {
            Some(facts) if wrong.is_empty() => {
                let stands_for = graph.nodes.iter().map(|_| Vec::new()).collect();
                Ok(Self { graph, facts, forms, stands_for, warnings, met })
            }
            Some(_) | None => Err(Untyped::Wrong(wrong)),
        }
    }

    /// Puts the tensors of sequences in the place of those among the outputs.
    pub(super) fn spread_outputs(&mut self) {
        let mut outputs = Vec::new();
        for &output in &self.graph.outputs {
            match self.facts[output].as_sequence() {
                Some(items) => outputs.extend(items.iter().map(|item| item.value)),
                None => outputs.push(output),
            }
        }
        let mut seen = BTreeSet::new();
        self.graph.outputs = outputs.into_iter().filter(|&value| seen.insert(value)).collect();
    }

    /// What is wrong with a node of which all is known.
    pub(super) fn refused(&self, node: NodeId, refusal: Refusal) -> Wrong {
        let node = &self.graph.nodes[node];
        refused(node, refusal, &seen(node, |value| Some(&self.facts[value])))
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
    dims: &'a Dims,
    loops: &'a Loops,
    /// `None` of what depends on an error.
    facts: IdVec<ValueId, Option<Fact>>,
    warnings: Vec<(NodeName, String)>,
    wrong: Vec<Wrong>,
    decisions: Vec<Decision>,
    assumed: Vec<(NodeName, String)>,
    met: Names,
    /// How to give the first size that was taken to be as large as it may be.
    bounded: Option<String>,
}

impl Inference<'_> {
    /// Facts of inputs and initializers.
    fn sources(&mut self, graph: &Graph) {
        let mut inputs = Inputs::new(self.options, self.dims);
        for (id, value) in graph.values.iter_with_ids() {
            self.facts[id] = match &value.source {
                Source::Node(_) => continue,
                Source::Input => {
                    let fact = inputs.fact(value).map(empty_is_constant);
                    let reader = graph.nodes.iter().find(|node| node.inputs.contains(&Some(id)));
                    let note = fact.as_ref().and_then(|fact| inputs.note(value, fact));
                    self.warnings.extend(reader.map(|reader| reader.name.clone()).zip(note));
                    fact
                }
                Source::Initializer(Some(fact)) => Some(empty_is_constant(fact.clone())),
                Source::Initializer(None) => {
                    let what = format!("has initializer '{}' with an unknown type or a shape out of range", value.name);
                    self.wrong.push((None, Refusal::new(what).into()));
                    None
                }
            };
        }
        self.wrong.splice(0..0, inputs.finish());
    }

    /// The form of a node, and facts of its outputs.
    fn node(&mut self, graph: &Graph, id: NodeId) -> Form {
        let node = &graph.nodes[id];
        let op = ops::find(node);
        if !control::is_control(node) && op.is_none() && self.declared_outputs(graph, node).is_none() {
            self.note_unknown(node);
            return Form::Constant;
        }
        let Some(inputs) = self.inputs(node) else { return Form::Constant };
        if control::is_control(node) {
            let names = [self.loops.without_step(&node.name.name), node.name.name.clone()];
            let given = names.iter().find_map(|name| self.options.trips.get(name).copied());
            let decided = control::decide(graph, node, &inputs, given);
            if matches!(node.name.op.as_str(), "Loop" | "If") {
                self.met.loops.extend(names);
            }
            return match decided {
                Ok((decision, note)) => self.decide(node, decision, note),
                Err(refusal) => self.refuse(node, refusal),
            };
        }
        // Without inputs, an operator that is no constant makes random numbers.
        let all_constant = !inputs.is_empty() && inputs.iter().flatten().all(|fact| fact.is_constant());
        let lowered = self.lower(graph, node, op, inputs);
        if lowered.as_ref().is_ok_and(|lowered| lowered.is_open()) {
            self.met.inputs.extend([node.name.name.clone(), self.loops.without_step(&node.name.name)]);
        }
        match lowered {
            Ok(lowered) => self.note(graph, node, lowered, all_constant),
            Err(refusal) => self.refuse(node, refusal),
        }
    }

    /// What is known of a node's inputs; `None` where one depends on an error.
    fn inputs(&self, node: &Node) -> Option<Vec<Option<&Fact>>> {
        let fact = |&input: &Option<ValueId>| match input {
            Some(value) => self.facts[value].as_ref().map(Some),
            None => Some(None),
        };
        node.inputs.iter().map(fact).collect()
    }

    /// What an operator is by its rule or, where it has none, by what the file says of its outputs.
    fn lower(
        &self,
        graph: &Graph,
        node: &Node,
        op: Option<&Op>,
        inputs: Vec<Option<&Fact>>,
    ) -> Result<Lowered, Refusal> {
        let name = &node.name.name;
        let shape = self.options.shapes.get(&self.loops.without_step(name)).or_else(|| self.options.shapes.get(name));
        let given = Given { size: self.options.dims.get(name).copied(), shape: shape.map(Vec::as_slice) };
        let cx = Context::new(node, inputs, given);
        let Some(op) = op else {
            return Ok(ops::unknown(&cx, self.declared_outputs(graph, node).unwrap_or_default()));
        };
        (op.lower)(&cx).or_else(|refusal| match refusal.is_open {
            true => self.opened(graph, node, &cx, refusal),
            false => Err(refusal),
        })
    }

    /// What an operator is whose shape is not known before the model runs, by what the user or the file says of it.
    fn opened(&self, graph: &Graph, node: &Node, cx: &Context<'_>, refusal: Refusal) -> Result<Lowered, Refusal> {
        let shaped = |shape: &[u64]| vec![Fact::at_run_time(shape.to_vec(), ops::element_of(cx))];
        let given = cx.given_shape().filter(|_| node.outputs.iter().flatten().count() == 1).map(shaped);
        match given.or_else(|| self.declared_outputs(graph, node)) {
            Some(outputs) => Ok(ops::open(cx, outputs, &refusal.what)),
            None => {
                let sizes: Vec<_> = ops::example(cx).iter().map(u64::to_string).collect();
                let (name, sizes) = (self.loops.without_step(&node.name.name), sizes.join(","));
                let mend = format!("give the largest shape that it makes, as in --shape '{name}={sizes}'");
                Err(Refusal { mend: mend.into(), ..refusal })
            }
        }
    }

    /// Notes what an operator is: its body stands in for it, if it has one and is not known before the model runs.
    fn note(&mut self, graph: &Graph, node: &Node, lowered: Lowered, all_constant: bool) -> Form {
        match lowered {
            Lowered { outputs, form, warning, body: Some(body) } if !all_constant || outputs.is_empty() => {
                if !outputs.is_empty() {
                    self.settle(node, Lowered::new(outputs, form), false);
                }
                let (body, others) = body.into_graph();
                let choice = Choice::Body(body, others.iter().map(|&value| graph.name(value)).collect());
                self.decide(node, Decision { position: node.position, choice }, warning)
            }
            lowered => self.settle(node, lowered, all_constant),
        }
    }

    fn decide(&mut self, node: &Node, decision: Decision, note: Option<Note>) -> Form {
        self.decisions.push(decision);
        match note {
            Some(Note::Size(what) | Note::Cost(what) | Note::Open(what)) => {
                self.assumed.push((node.name.clone(), what))
            }
            Some(Note::Bound(_) | Note::BoundShape(_)) | None => {}
        }
        Form::Constant
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
                Some(_) => return self.refuse(node, Refusal::new(format!("makes an output {i} that is too large"))),
                None => return self.refuse(node, Refusal::new(format!("has an output {i} that is not known"))),
            };
            let fact = if is_constant { made_constant(fact) } else { empty_is_constant(fact) };
            self.facts[output] = Some(fact);
        }
        let is_constant = is_constant || outputs.iter().all(|fact| fact.shape.contains(&0));
        match warning {
            Some(Note::Size(what) | Note::Open(what)) => self.warnings.push((node.name.clone(), what)),
            Some(Note::Cost(what)) if !is_constant => self.warnings.push((node.name.clone(), what)),
            Some(Note::Bound(what)) => self.bound(node, what),
            Some(Note::BoundShape(what)) => self.bound_shape(node, what, &outputs),
            Some(Note::Cost(_)) | None => {}
        }
        if is_constant { Form::Constant } else { form }
    }

    /// Notes that only data decides a size, which the user may give by the node's name.
    fn bound(&mut self, node: &Node, what: &str) {
        let name = &node.name.name;
        self.met.dims.insert(name.clone());
        if !self.options.dims.contains_key(name) {
            self.bounded.get_or_insert_with(|| format!("--dim {name}=1"));
            let what = format!(
                "has an output whose size the data decides; the upper bound is taken: {what}; or give it, as in --dim \
                 {name}=1"
            );
            self.warnings.push((node.name.clone(), what));
        }
    }

    /// The same of a whole shape.
    fn bound_shape(&mut self, node: &Node, what: &str, outputs: &[Fact]) {
        let name = self.loops.without_step(&node.name.name);
        let sizes: Vec<_> = outputs.iter().take(1).flat_map(|fact| &fact.shape).map(u64::to_string).collect();
        if !self.options.shapes.contains_key(&name) && !self.options.shapes.contains_key(&node.name.name) {
            let flag = format!("--shape '{name}={}'", sizes.join(","));
            let what = format!(
                "has an output whose shape the data decides; the upper bound is taken: {what}; or give it, as in {flag}"
            );
            self.bounded.get_or_insert(flag);
            self.warnings.push((node.name.clone(), what));
        }
    }

    fn refuse(&mut self, node: &Node, mut refusal: Refusal) -> Form {
        // What does not fit may be as large as a bound that was taken.
        if let (Some(flag), false) = (&self.bounded, refusal.is_open) {
            refusal.mend = format!("{}; or give what only data decides before it, as in {flag}", refusal.mend).into();
        }
        self.wrong.push(refused(node, refusal, &self.seen(node)));
        Form::Constant
    }

    fn seen(&self, node: &Node) -> String {
        seen(node, |value| self.facts[value].as_ref())
    }

    /// Each unknown operator once, with the first node that has it.
    fn note_unknown(&mut self, node: &Node) {
        let domain = if node.domain.is_empty() { "ai.onnx" } else { &node.domain };
        let is_same = |(other, kind): &Wrong| {
            let same_op = other.as_ref().is_some_and(|other| other.op == node.name.op);
            same_op && matches!(kind, Kind::UnknownOperator { domain: other, seen: _ } if other == domain)
        };
        if !self.wrong.iter().any(is_same) {
            let kind = Kind::UnknownOperator { domain: domain.to_owned(), seen: self.seen(node) };
            self.wrong.push((Some(node.name.clone()), kind));
        }
    }
}

/// The shapes of a node's inputs, for messages.
fn seen<'a>(node: &Node, fact: impl Fn(ValueId) -> Option<&'a Fact>) -> String {
    let one = |input: &Option<ValueId>| match input.map(&fact) {
        None => "none".to_owned(),
        Some(None) => "unknown".to_owned(),
        Some(Some(fact)) => ops::shown(&fact.shape),
    };
    match &node.inputs[..] {
        [] => "no inputs".to_owned(),
        [only] => format!("input {}", one(only)),
        all => format!("inputs {}", all.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

fn refused(node: &Node, refusal: Refusal, seen: &str) -> Wrong {
    let what = format!("{} ({seen})", refusal.what);
    (Some(node.name.clone()), Refusal { what, ..refusal }.into())
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
