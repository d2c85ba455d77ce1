//! The graph with its names resolved: typed ids, nodes in an order in which they can run, dead nodes gone.
//!
//! After this file a name is only something to show. Identity nodes are gone too: the value on either side is one.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::constant::fact_of;
use super::error::{Kind, NodeName};
use super::fact::Fact;
use super::opsets::{Opsets, plain_domain};
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, TypeProto};
use crate::ir::{IdVec, entity};

entity! {
    /// A node of one graph, numbered in an order in which they can run.
    NodeId, "node"
}
entity! {
    /// A value: an input, an initializer, or an output of a node.
    ValueId, "value"
}

/// A graph that can be walked from first node to last.
pub(super) struct Graph {
    pub(super) values: IdVec<ValueId, Value>,
    pub(super) nodes: IdVec<NodeId, Node>,
    pub(super) outputs: Vec<ValueId>,
    pub(super) opsets: Opsets,
}

/// One value.
pub(super) struct Value {
    pub(super) name: String,
    pub(super) source: Source,
    /// What the file says of its type, to check ours against.
    pub(super) declared: Option<TypeProto>,
}

/// Where a value comes from.
pub(super) enum Source {
    Input,
    /// `None` if its type is unknown, or its shape makes no sense.
    Initializer(Option<Fact>),
    Node(NodeId),
}

/// One node.
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) domain: String,
    /// `None` where an optional input is left out.
    pub(super) inputs: Vec<Option<ValueId>>,
    /// The first, and each that a node or an output of the graph reads.
    pub(super) outputs: Vec<Option<ValueId>>,
    pub(super) attributes: Vec<AttributeProto>,
    /// Where the file's graph has it.
    pub(super) position: usize,
}

impl Node {
    pub(super) fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

/// What is wrong, and with which node.
pub(super) type Wrong = (Option<NodeName>, Kind);

impl Graph {
    /// The name of a value, as nodes read it.
    pub(super) fn name(&self, value: ValueId) -> String {
        self.values[value].name.clone()
    }

    /// Resolves the names of a model, whose graph and operator sets are there.
    pub(super) fn new(model: &ModelProto) -> Result<Self, Vec<Wrong>> {
        let opsets = Opsets::of(model);
        let Some(graph) = &model.graph else { return Err(vec![(None, Kind::NoGraph)]) };
        let links = Links::resolve(graph, &opsets)?;
        let order = links.order(graph, &opsets)?;
        Ok(assemble(graph, &links, &order, opsets))
    }
}

/// A value's place in the file.
#[derive(Clone, Copy)]
enum Place {
    Input,
    Initializer(usize),
    Sparse(usize),
    Output { node: usize },
}

/// The file's nodes by position, and where the value is that each reads.
struct Links<'a> {
    places: HashMap<&'a str, Place>,
    /// For each node, the nodes whose outputs it reads.
    needs: Vec<Vec<usize>>,
    /// The nodes that make the graph's outputs.
    roots: Vec<usize>,
}

impl<'a> Links<'a> {
    fn resolve(graph: &'a GraphProto, opsets: &Opsets) -> Result<Self, Vec<Wrong>> {
        let (places, mut wrong) = places(graph, opsets);
        if graph.output.is_empty() {
            wrong.push((None, Kind::NoOutputs));
        }
        let mut find = |name: &str, reader: Option<&NodeProto>| match places.get(name) {
            Some(Place::Output { node }) => Some(*node),
            Some(Place::Input | Place::Initializer(_) | Place::Sparse(_)) => None,
            None => {
                wrong.push((reader.map(|node| node_name(node, opsets)), Kind::UnknownTensor(name.to_owned())));
                None
            }
        };
        let inputs = |node: &'a NodeProto| node.input.iter().filter(|name| !name.is_empty());
        let needs = graph.node.iter().map(|node| inputs(node).filter_map(|name| find(name, Some(node))).collect());
        let needs = needs.collect();
        let roots = graph.output.iter().filter_map(|output| find(&output.name, None)).collect();
        if wrong.is_empty() { Ok(Self { places, needs, roots }) } else { Err(wrong) }
    }

    /// The nodes that an output needs, in the file's order where that is one in which they can run.
    fn order(&self, graph: &GraphProto, opsets: &Opsets) -> Result<Vec<usize>, Vec<Wrong>> {
        let live = self.live();
        let order = in_order(&self.needs, |node| live[node]);
        let ordered: BTreeSet<usize> = order.iter().copied().collect();
        match (0..live.len()).find(|node| live[*node] && !ordered.contains(node)) {
            Some(node) => Err(vec![(Some(node_name(&graph.node[node], opsets)), Kind::Cycle)]),
            None => Ok(order),
        }
    }

    fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.needs.len()];
        let mut stack = self.roots.clone();
        while let Some(node) = stack.pop() {
            if !std::mem::replace(&mut live[node], true) {
                stack.extend(&self.needs[node]);
            }
        }
        live
    }
}

/// Those that are live, each behind all that it needs, and otherwise by number; without those of a cycle and what needs
/// them. What is live needs only what is.
pub(super) fn in_order(needs: &[Vec<usize>], is_live: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut waiting_for = vec![0usize; needs.len()];
    let mut readers = vec![Vec::new(); needs.len()];
    let live = || (0..needs.len()).filter(|&node| is_live(node));
    for node in live() {
        waiting_for[node] = needs[node].len();
        for &needed in &needs[node] {
            readers[needed].push(node);
        }
    }
    let mut ready: BTreeSet<usize> = live().filter(|&node| waiting_for[node] == 0).collect();
    let mut order = Vec::new();
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for &reader in &readers[node] {
            waiting_for[reader] -= 1;
            if waiting_for[reader] == 0 {
                ready.insert(reader);
            }
        }
    }
    order
}

/// A node of the file, as messages name it.
pub(super) fn node_name(node: &NodeProto, opsets: &Opsets) -> NodeName {
    NodeName { name: called(node).to_owned(), op: node.op_type.clone(), opset: opsets.version(&node.domain) }
}

/// The name of a node of the file; its first output's where it has none.
pub(super) fn called(node: &NodeProto) -> &str {
    let output = || node.output.iter().find(|name| !name.is_empty());
    if node.name.is_empty() { output().unwrap_or(&node.op_type) } else { &node.name }
}

/// Where each name is made. An initializer may stand among the inputs too, and then it is a weight.
fn places<'a>(graph: &'a GraphProto, opsets: &Opsets) -> (HashMap<&'a str, Place>, Vec<Wrong>) {
    let mut places = HashMap::new();
    let mut wrong = Vec::new();
    for input in &graph.input {
        places.insert(input.name.as_str(), Place::Input);
    }
    for (i, tensor) in graph.initializer.iter().enumerate() {
        places.insert(tensor.name.as_str(), Place::Initializer(i));
    }
    for (i, tensor) in graph.sparse_initializer.iter().enumerate() {
        if let Some(values) = &tensor.values {
            places.insert(values.name.as_str(), Place::Sparse(i));
        }
    }
    for (i, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if places.insert(name, Place::Output { node: i }).is_some() {
                wrong.push((Some(node_name(node, opsets)), Kind::MadeTwice(name.clone())));
            }
        }
    }
    (places, wrong)
}

/// Gives ids to what is left, in order.
fn assemble(graph: &GraphProto, links: &Links<'_>, order: &[usize], opsets: Opsets) -> Graph {
    let is_output: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut is_read = is_output.clone();
    is_read.extend(order.iter().flat_map(|&position| &graph.node[position].input).map(String::as_str));
    let mut builder = Builder { graph, places: &links.places, is_read, values: IdVec::new(), ids: HashMap::new() };
    let mut nodes = IdVec::new();
    for &position in order {
        let node = &graph.node[position];
        let inputs: Vec<_> = node.input.iter().map(|name| builder.value(name)).collect();
        if let ("Identity", [Some(input)], [output]) = (node.op_type.as_str(), &inputs[..], &node.output[..])
            && (!is_output.contains(output.as_str()) || builder.becomes_output(*input, output, &is_output))
        {
            builder.ids.insert(output, *input);
            continue;
        }
        let id = NodeId::from(nodes.len());
        let name = node_name(node, &opsets);
        let outputs = node.output.iter().enumerate().map(|(i, output)| builder.output(i, output, id, &name)).collect();
        nodes.push(Node {
            name,
            domain: plain_domain(&node.domain).to_owned(),
            inputs,
            outputs,
            attributes: node.attribute.clone(),
            position,
        });
    }
    let mut seen = BTreeSet::new();
    let outputs = graph.output.iter().filter_map(|output| builder.value(&output.name));
    let outputs = outputs.filter(|&value| seen.insert(value)).collect();
    let mut values = builder.values;
    declare(graph, &mut values);
    Graph { values, nodes, outputs, opsets }
}

/// The values that have been met so far.
struct Builder<'a> {
    graph: &'a GraphProto,
    places: &'a HashMap<&'a str, Place>,
    is_read: HashSet<&'a str>,
    values: IdVec<ValueId, Value>,
    ids: HashMap<&'a str, ValueId>,
}

impl<'a> Builder<'a> {
    /// The value that a node reads: made by an earlier node, or met here for the first time.
    fn value(&mut self, name: &'a str) -> Option<ValueId> {
        if name.is_empty() {
            return None;
        }
        if let Some(&id) = self.ids.get(name) {
            return Some(id);
        }
        let source = match *self.places.get(name)? {
            Place::Input => Source::Input,
            Place::Initializer(i) => Source::Initializer(fact_of(&self.graph.initializer[i])),
            Place::Sparse(i) => Source::Initializer(fact_of(&dense(&self.graph.sparse_initializer[i]))),
            // Made by a node that comes later: `order` has none.
            Place::Output { .. } => return None,
        };
        Some(self.make(name, source))
    }

    /// An output, where one is needed; the first always is, for the work of the node makes that one.
    fn output(&mut self, index: usize, name: &'a str, node: NodeId, of: &NodeName) -> Option<ValueId> {
        match (name.is_empty(), index) {
            (true, 0) => {
                let source = Source::Node(node);
                Some(self.values.push(Value { name: of.name.clone(), source, declared: None }))
            }
            (false, 0) => Some(self.make(name, Source::Node(node))),
            (_, _) => (!name.is_empty() && self.is_read.contains(name)).then(|| self.make(name, Source::Node(node))),
        }
    }

    /// Lets a value that a node makes be called as the output of the graph that it is handed to.
    fn becomes_output(&mut self, value: ValueId, output: &str, is_output: &HashSet<&str>) -> bool {
        let value = &mut self.values[value];
        let is_free = matches!(value.source, Source::Node(_)) && !is_output.contains(value.name.as_str());
        if is_free {
            output.clone_into(&mut value.name);
        }
        is_free
    }

    fn make(&mut self, name: &'a str, source: Source) -> ValueId {
        let id = self.values.push(Value { name: name.to_owned(), source, declared: None });
        self.ids.insert(name, id);
        id
    }
}

/// A sparse tensor is costed as the dense one that a product needs.
fn dense(sparse: &SparseTensorProto) -> TensorProto {
    let data_type = sparse.values.as_ref().map_or(0, |values| values.data_type);
    TensorProto { dims: sparse.dims.clone(), data_type, data_location: 1, ..TensorProto::default() }
}

/// Notes what the file says of each value's type.
fn declare(graph: &GraphProto, values: &mut IdVec<ValueId, Value>) {
    let infos = graph.value_info.iter().chain(&graph.output).chain(&graph.input);
    let types: HashMap<&str, &TypeProto> =
        infos.filter_map(|info| Some((info.name.as_str(), info.r#type.as_ref()?))).collect();
    for value in values.iter_mut() {
        value.declared = types.get(value.name.as_str()).map(|&declared| declared.clone());
    }
}
