//! If, Loop, Scan and SequenceMap: the branch that is taken, the steps one after the other.

use bytes::Bytes;

use super::functions::identity;
use super::sequences::sequence;
use super::{Loops, MOST_NODES, Renaming};
use crate::frontend::graph::{Wrong, node_name};
use crate::frontend::inputs::tensor_of;
use crate::frontend::ops::Refusal;
use crate::frontend::opsets::Opsets;
use crate::frontend::proto::tensor_shape_proto::{Dimension, dimension};
use crate::frontend::proto::{self, AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// What inference decides of a node of the file.
#[derive(Debug)]
pub(in super::super) struct Decision {
    /// Where the node is in the graph.
    pub(in super::super) position: usize,
    pub(in super::super) choice: Choice,
}

/// What stands in for a node.
#[derive(Debug)]
pub(in super::super) enum Choice {
    /// Of an operator that is several layers: these, and what they read beside its inputs.
    Body(GraphProto, Vec<String>),
    /// Of an If: the branch with this name.
    Branch(&'static str),
    /// Of a Loop: so many steps.
    Loop(u64),
    /// Of a Scan: so many steps.
    Scan(u64),
    /// Of a Scan as it was before version 9: so many steps for each item of its batch.
    Batch {
        /// How many items.
        items: u64,
        steps: u64,
    },
    /// Of a SequenceMap: what each step is given.
    Map(Vec<Vec<String>>),
}

impl Choice {
    fn is_loop(&self) -> bool {
        match self {
            Self::Loop(_) | Self::Scan(_) | Self::Batch { items: _, steps: _ } | Self::Map(_) => true,
            Self::Body(_, _) | Self::Branch(_) => false,
        }
    }
}

/// Puts bodies in the place of the nodes that are decided, which come in order. Of loops it notes what their steps are
/// called.
pub(in super::super) fn control(
    graph: &mut GraphProto,
    decisions: &[Decision],
    opsets: &Opsets,
    loops: &mut Loops,
) -> Result<(), Wrong> {
    let mut bodies = Bodies { nodes: Vec::new(), initializers: Vec::new(), opset: opsets.version("") };
    let mut decisions = decisions.iter().peekable();
    for (position, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        match decisions.next_if(|decision| decision.position == position) {
            None => bodies.nodes.push(node),
            Some(decision) => {
                if decision.choice.is_loop() {
                    node.output.iter().find(|name| !name.is_empty()).into_iter().for_each(|name| loops.insert(name));
                }
                let unfit = || {
                    let refusal =
                        Refusal::new("has a body that does not fit its inputs and outputs, too many steps, or none");
                    (Some(node_name(&node, opsets)), refusal.into())
                };
                bodies
                    .place(&node, &decision.choice)
                    .filter(|()| bodies.nodes.len() <= MOST_NODES)
                    .ok_or_else(unfit)?;
            }
        }
    }
    graph.node = bodies.nodes;
    graph.initializer.append(&mut bodies.initializers);
    Ok(())
}

/// What the graph is made of.
struct Bodies {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    opset: i64,
}

impl Bodies {
    fn place(&mut self, node: &NodeProto, choice: &Choice) -> Option<()> {
        let prefix = &node.output.iter().find(|name| !name.is_empty())?.clone();
        let body = match choice {
            Choice::Body(body, _) => body,
            Choice::Branch(branch) => attribute(node, branch)?.g.as_ref()?,
            Choice::Loop(_) | Choice::Scan(_) | Choice::Batch { items: _, steps: _ } | Choice::Map(_) => {
                attribute(node, "body")?.g.as_ref()?
            }
        };
        self.weights(body, prefix);
        match choice {
            Choice::Body(_, others) => self.once(node, body, &[&node.input[..], others].concat(), prefix),
            Choice::Branch(_) => self.once(node, body, &[], prefix),
            Choice::Loop(steps) => self.steps(&Steps::of_loop(node, body), *steps, &node.output, [prefix, prefix]),
            Choice::Scan(steps) => {
                let shape = Steps::of_scan(node, body, &node.input, "scan_input_directions")?;
                self.steps(&shape, *steps, &node.output, [prefix, prefix])
            }
            Choice::Batch { items, steps } => self.batch(node, body, *items, *steps, prefix),
            Choice::Map(steps) => self.map(node, body, steps, prefix),
        }
    }

    /// A body in the place of a node.
    fn once(&mut self, node: &NodeProto, body: &GraphProto, inputs: &[String], prefix: &str) -> Option<()> {
        let results = self.body(body, [prefix, prefix], inputs)?;
        self.results(results, &node.output);
        Some(())
    }

    /// A body for each tensor of a sequence; what they give are sequences again.
    fn map(&mut self, node: &NodeProto, body: &GraphProto, steps: &[Vec<String>], prefix: &str) -> Option<()> {
        let given =
            steps.iter().enumerate().map(|(i, inputs)| self.body(body, [prefix, &format!("{prefix}.{i}")], inputs));
        let given = given.collect::<Option<Vec<_>>>()?;
        for (i, output) in node.output.iter().enumerate().filter(|(_, output)| !output.is_empty()) {
            let input = given.iter().map(|step| step.get(i).cloned()).collect::<Option<_>>()?;
            self.nodes.push(sequence(input, output.clone()));
        }
        Some(())
    }

    /// A body's weights, which all its steps share.
    fn weights(&mut self, body: &GraphProto, prefix: &str) {
        let named = |tensor: &TensorProto| TensorProto { name: format!("{prefix}/{}", tensor.name), ..tensor.clone() };
        self.initializers.extend(body.initializer.iter().map(named));
    }

    /// A body's nodes, with its inputs and weights bound; the names of its outputs. What is its own takes a prefix, and
    /// its weights another, for they are the same wherever the body is.
    fn body(&mut self, body: &GraphProto, [weights, prefix]: [&str; 2], inputs: &[String]) -> Option<Vec<String>> {
        let mut renaming = Renaming::new(prefix, &body.node);
        for (input, name) in body.input.iter().zip(inputs) {
            renaming.bind(&input.name, name);
        }
        for tensor in &body.initializer {
            renaming.bind(&tensor.name, &format!("{weights}/{}", tensor.name));
        }
        self.nodes.extend(body.node.iter().map(|node| renaming.node(node)));
        (self.nodes.len() <= MOST_NODES).then(|| body.output.iter().map(|output| renaming.name(&output.name)).collect())
    }

    /// The steps of each item of a batch. Every input but the first, which says how long the sequences are, and every
    /// output has the batch in front.
    fn batch(&mut self, node: &NodeProto, body: &GraphProto, items: u64, steps: u64, prefix: &str) -> Option<()> {
        let mut given: Vec<Vec<String>> = Vec::new();
        for item in 0..items {
            let inner = format!("{prefix}.{item}");
            let inputs = node.input.get(1..)?.iter().map(|name| self.slice(&inner, name, 0, item));
            let inputs = inputs.collect::<Option<Vec<_>>>()?;
            let outputs: Vec<_> = node.output.iter().map(|output| format!("{inner}/item of {output}")).collect();
            let shape = Steps::of_scan(node, body, &inputs, "directions")?;
            self.steps(&shape, steps, &outputs, [prefix, &inner])?;
            given.push(outputs);
        }
        for (i, output) in node.output.iter().enumerate().filter(|(_, output)| !output.is_empty()) {
            self.stack(given.iter().map(|outputs| outputs[i].clone()).collect(), 0, output)?;
        }
        Some(())
    }

    /// Steps one after the other; what each gives is put together at the end.
    fn steps(&mut self, shape: &Steps<'_>, steps: u64, outputs: &[String], [weights, prefix]: [&str; 2]) -> Option<()> {
        let mut states = shape.states.to_vec();
        let mut given: Vec<Vec<String>> = Vec::new();
        for step in 0..steps {
            let inner = format!("{prefix}.{step}");
            let mut inputs = match shape.is_loop {
                true => vec![self.scalar(&inner, "step", step)?, self.goes_on(&inner)],
                false => Vec::new(),
            };
            inputs.append(&mut states);
            for scanned in &shape.scanned {
                let index = if scanned.backwards { steps - 1 - step } else { step };
                inputs.push(self.slice(&inner, &scanned.name, scanned.axis, index)?);
            }
            let results = self.body(shape.body, [weights, &inner], &inputs)?;
            let results = results.get(usize::from(shape.is_loop)..)?;
            states = results.get(..shape.states.len())?.to_vec();
            given.push(results[shape.states.len()..].to_vec());
        }
        let (of_states, of_steps) = outputs.split_at_checked(shape.states.len())?;
        self.results(states, of_states);
        for (i, output) in of_steps.iter().enumerate().filter(|(_, output)| !output.is_empty()) {
            let (axis, backwards) = shape.outputs.get(i).copied().unwrap_or((0, false));
            let mut parts = given.iter().map(|step| step.get(i).cloned()).collect::<Option<Vec<_>>>()?;
            if backwards {
                parts.reverse();
            }
            match parts.is_empty() {
                true => self.nothing(shape.body.output.get(shape.outputs_of_steps() + i)?, axis, output)?,
                false => self.stack(parts, axis, output)?,
            }
        }
        Some(())
    }

    /// Values are handed to the node's outputs.
    fn results(&mut self, values: Vec<String>, outputs: &[String]) {
        for (value, output) in values.into_iter().zip(outputs).filter(|(_, output)| !output.is_empty()) {
            self.nodes.push(identity(value, output.clone()));
        }
    }

    /// A constant of one whole number.
    fn scalar(&mut self, prefix: &str, name: &str, value: u64) -> Option<String> {
        let raw_data = proto::raw(&[value.try_into().ok()?]);
        Some(self.constant(TensorProto {
            name: format!("{prefix}/{name}"),
            data_type: 7,
            raw_data,
            ..Default::default()
        }))
    }

    /// The condition that a step of a Loop begins with.
    fn goes_on(&mut self, prefix: &str) -> String {
        let raw_data = Bytes::from_static(&[1]);
        self.constant(TensorProto { name: format!("{prefix}/goes_on"), data_type: 9, raw_data, ..Default::default() })
    }

    fn constant(&mut self, tensor: TensorProto) -> String {
        let name = tensor.name.clone();
        self.initializers.push(tensor);
        name
    }

    /// What a step sees of a value that is scanned.
    fn slice(&mut self, prefix: &str, name: &str, axis: i64, index: u64) -> Option<String> {
        let index = self.scalar(prefix, &format!("index of {name}"), index)?;
        let output = format!("{prefix}/slice of {name}");
        self.nodes.push(NodeProto {
            input: vec![name.to_owned(), index],
            output: vec![output.clone()],
            op_type: "Gather".into(),
            attribute: vec![int("axis", axis)],
            ..NodeProto::default()
        });
        Some(output)
    }

    /// What no step gave: a tensor that is 0 along a new axis. Of the others the body has to say the size.
    fn nothing(&mut self, of_step: &ValueInfoProto, axis: i64, output: &str) -> Option<()> {
        let tensor = tensor_of(of_step.r#type.as_ref()?)?;
        let size = |dim: &Dimension| match dim.value {
            Some(dimension::Value::DimValue(size)) => Some(size),
            Some(dimension::Value::DimParam(_)) | None => None,
        };
        let mut dims: Vec<i64> = tensor.shape.as_ref()?.dim.iter().map(size).collect::<Option<_>>()?;
        let end = i64::try_from(dims.len()).ok()?;
        let at = usize::try_from(if axis < 0 { axis.checked_add(end + 1)? } else { axis }).ok()?;
        (at <= dims.len()).then(|| dims.insert(at, 0))?;
        let (name, data_type) = (output.to_owned(), tensor.elem_type);
        self.constant(TensorProto { name, data_type, dims, ..TensorProto::default() });
        Some(())
    }

    /// The values that the steps gave, along a new axis.
    fn stack(&mut self, parts: Vec<String>, axis: i64, output: &str) -> Option<()> {
        if parts.is_empty() {
            return None;
        }
        let (name, raw_data) = (format!("{output}/axes"), proto::raw(&[axis]));
        let axes = self.constant(TensorProto { name, data_type: 7, dims: vec![1], raw_data, ..Default::default() });
        let mut rows = Vec::new();
        for (i, part) in parts.into_iter().enumerate() {
            let row = format!("{output}/row {i}");
            let (input, attribute) = match self.opset < 13 {
                true => (
                    vec![part],
                    vec![AttributeProto {
                        name: "axes".into(),
                        ints: vec![axis],
                        r#type: 7,
                        ..AttributeProto::default()
                    }],
                ),
                false => (vec![part, axes.clone()], Vec::new()),
            };
            let output = vec![row.clone()];
            self.nodes.push(NodeProto {
                input,
                output,
                op_type: "Unsqueeze".into(),
                attribute,
                ..NodeProto::default()
            });
            rows.push(row);
        }
        self.nodes.push(NodeProto {
            input: rows,
            output: vec![output.to_owned()],
            op_type: "Concat".into(),
            attribute: vec![int("axis", axis)],
            ..NodeProto::default()
        });
        Some(())
    }
}

/// What goes from step to step.
struct Steps<'a> {
    body: &'a GraphProto,
    /// Whether the body also takes the number of the step and whether to go on, and says the latter.
    is_loop: bool,
    states: &'a [String],
    scanned: Vec<Scanned>,
    /// The axis along which each output of the steps is put together, and whether the last step's comes first.
    outputs: Vec<(i64, bool)>,
}

/// A value of which each step sees one slice.
struct Scanned {
    name: String,
    axis: i64,
    backwards: bool,
}

impl<'a> Steps<'a> {
    /// The first output of the body that is put together rather than handed on.
    fn outputs_of_steps(&self) -> usize {
        usize::from(self.is_loop) + self.states.len()
    }

    fn of_loop(node: &'a NodeProto, body: &'a GraphProto) -> Self {
        let states = node.input.get(2..).unwrap_or_default();
        Self { body, is_loop: true, states, scanned: Vec::new(), outputs: Vec::new() }
    }

    /// Of a Scan with these inputs, states first; an attribute says which are scanned backwards.
    fn of_scan(node: &'a NodeProto, body: &'a GraphProto, inputs: &'a [String], directions: &str) -> Option<Self> {
        let count = usize::try_from(attribute(node, "num_scan_inputs")?.i).ok()?;
        let (states, scanned) = inputs.split_at_checked(inputs.len().checked_sub(count)?)?;
        let list = |name: &str, i: usize| attribute(node, name).and_then(|list| list.ints.get(i).copied()).unwrap_or(0);
        let scanned = scanned.iter().enumerate().map(|(i, name)| Scanned {
            name: name.clone(),
            axis: list("scan_input_axes", i),
            backwards: list(directions, i) == 1,
        });
        let outputs = (0..node.output.len().checked_sub(states.len())?)
            .map(|i| (list("scan_output_axes", i), list("scan_output_directions", i) == 1));
        Some(Self { body, is_loop: false, states, scanned: scanned.collect(), outputs: outputs.collect() })
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: value, r#type: 2, ..AttributeProto::default() }
}
