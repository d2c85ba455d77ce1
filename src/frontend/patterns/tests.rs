//! Every row, in every spelling, as a model of its own: each is one layer, and none is with another constant.

use prost::Message;

use super::table::PATTERNS;
use super::{Pattern, Term};
use crate::frontend::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto, type_proto,
};
use crate::frontend::{Options, parse};
use crate::ir::Model;

/// Takes each alternative of every choice once, for no choice has another number of them than 1, 2 or 3.
const SPELLINGS: usize = 6;

/// Of the input: two groups of two channels.
const SHAPE: [i64; 3] = [2, 4, 8];

/// A pattern as a model.
struct Writer {
    graph: GraphProto,
    /// Which alternative of each choice is written.
    spelling: usize,
    /// Whether a term that stands twice is computed once.
    is_shared: bool,
    /// Whether what an operator gives another is quantised and dequantised.
    is_quantised: bool,
    /// What the constants are multiplied by.
    factor: f64,
}

impl Writer {
    /// The name of a value that is what a term says.
    #[expect(clippy::float_arithmetic, reason = "the constants of a test")]
    fn write(&mut self, term: &Term) -> String {
        let last_axis = || AttributeProto { name: "axes".into(), ints: vec![-1], r#type: 7, ..Default::default() };
        match term {
            Term::X => "x".to_owned(),
            Term::Weight(number) | Term::Given(number) => self.constant(&format!("weight{number}"), &[8], Vec::new()),
            Term::Turned => self.turned(),
            Term::Number => self.constant("number", &[], vec![1e-5]),
            Term::Is(number) => {
                let number = (number * self.factor) as f32;
                self.constant(&number.to_string(), &[], vec![number])
            }
            Term::All(number) => {
                let number = (number * self.factor) as f32;
                self.constant(&format!("all {number}"), &[2], vec![number; 2])
            }
            Term::Constant => self.shape("shape", &SHAPE),
            Term::InGroups => {
                let groups = self.shape("groups", &[2, 2, 16]);
                self.node("Reshape", vec!["x".to_owned(), groups], Vec::new())
            }
            Term::Op(op, arguments) => {
                let inputs: Vec<String> = arguments.iter().map(|argument| self.operand(argument)).collect();
                self.node(op, inputs, Vec::new())
            }
            Term::Reduced(op, argument) => {
                let input = self.operand(argument);
                self.node(op, vec![input], vec![last_axis()])
            }
            Term::Any(terms) => self.write(&terms[self.spelling % terms.len()]),
        }
    }

    /// The halves of the last axis changed, or every other element.
    fn turned(&mut self) -> String {
        let (starts, ends, step) =
            if self.spelling.is_multiple_of(2) { ([4, 0], [8, 4], 1) } else { ([1, 0], [8, 8], 2) };
        let [axis, steps] = [("last", -1), ("step", step)].map(|(name, number)| self.shape(name, &[number]));
        let [second, first] = [0, 1].map(|i| {
            let bounds = [("start", starts[i]), ("end", ends[i])];
            let [start, end] = bounds.map(|(name, at)| self.shape(&format!("{name}{i}"), &[at]));
            self.node("Slice", vec!["x".into(), start, end, axis.clone(), steps.clone()], Vec::new())
        });
        let negated = self.node("Neg", vec![second], Vec::new());
        let axis = |axis| AttributeProto { name: "axis".into(), i: axis, r#type: 2, ..Default::default() };
        if self.spelling.is_multiple_of(2) {
            return self.node("Concat", vec![negated, first], vec![axis(-1)]);
        }
        let last = || AttributeProto { name: "axes".into(), ints: vec![-1], r#type: 7, ..Default::default() };
        let [negated, first] = [negated, first].map(|part| self.node("Unsqueeze", vec![part], vec![last()]));
        let pairs = self.node("Concat", vec![negated, first], vec![axis(-1)]);
        let shape = self.shape("whole", &SHAPE);
        self.node("Reshape", vec![pairs, shape], Vec::new())
    }

    /// What an operator reads.
    fn operand(&mut self, term: &Term) -> String {
        let value = self.write(term);
        if !self.is_quantised || !self.graph.node.iter().any(|node| node.output.contains(&value)) {
            return value;
        }
        let scale = self.constant("scale", &[], vec![0.5]);
        let narrow = self.node("QuantizeLinear", vec![value, scale.clone()], Vec::new());
        self.node("DequantizeLinear", vec![narrow, scale], Vec::new())
    }

    fn node(&mut self, op: &str, input: Vec<String>, attribute: Vec<AttributeProto>) -> String {
        let written = self.graph.node.iter().find(|node| self.is_shared && node.op_type == op && node.input == input);
        if let Some(node) = written {
            return node.output[0].clone();
        }
        let output = format!("{op}{}", self.graph.node.len());
        let node =
            NodeProto { op_type: op.into(), input, output: vec![output.clone()], attribute, ..Default::default() };
        self.graph.node.push(node);
        output
    }

    fn shape(&mut self, name: &str, sizes: &[i64]) -> String {
        let raw_data = sizes.iter().flat_map(|size| size.to_le_bytes()).collect::<Vec<u8>>().into();
        let (name, dims) = (name.to_owned(), vec![sizes.len() as i64]);
        let tensor = TensorProto { name: name.clone(), dims, data_type: 7, raw_data, ..Default::default() };
        self.graph.initializer.push(tensor);
        name
    }

    fn constant(&mut self, name: &str, dims: &[i64], floats: Vec<f32>) -> String {
        if !self.graph.initializer.iter().any(|tensor| tensor.name == name) {
            let data_location = i32::from(floats.is_empty());
            let raw_data = floats.iter().flat_map(|float| float.to_le_bytes()).collect::<Vec<u8>>().into();
            let (name, dims) = (name.to_owned(), dims.to_vec());
            let tensor = TensorProto { name, dims, data_type: 1, raw_data, data_location, ..Default::default() };
            self.graph.initializer.push(tensor);
        }
        name.to_owned()
    }
}

fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let size = |&size: &i64| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(size)),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: shape.iter().map(size).collect() };
    let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape) };
    let of_tensor = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(of_tensor) }
}

/// A pattern as a graph. Constants are multiplied by a factor.
fn graph(pattern: &Pattern, spelling: usize, [is_shared, is_quantised]: [bool; 2], factor: f64) -> GraphProto {
    let mut writer = Writer { graph: GraphProto::default(), spelling, is_shared, is_quantised, factor };
    let output = writer.write(&pattern.term);
    writer.graph.input.push(value("x", &SHAPE));
    writer.graph.output.push(value(&output, &SHAPE));
    writer.graph
}

fn model(graph: GraphProto) -> Model {
    let opset = OperatorSetIdProto { version: 12, ..Default::default() };
    let model = ModelProto { graph: Some(graph), opset_import: vec![opset], ..Default::default() };
    parse(model.encode_to_vec().into(), "model", &Options::default()).unwrap().model
}

fn has(term: &Term, is_it: &dyn Fn(&Term) -> bool) -> bool {
    is_it(term)
        || match term {
            Term::Op(_, terms) | Term::Any(terms) => terms.iter().any(|term| has(term, is_it)),
            Term::Reduced(_, term) => has(term, is_it),
            Term::X | Term::Weight(_) | Term::Given(_) | Term::Number | Term::Is(_) | Term::Turned => false,
            Term::All(_) | Term::Constant | Term::InGroups => false,
        }
}

#[test]
fn every_spelling_of_every_row_is_one_layer() {
    for pattern in PATTERNS {
        let styles = [[true, false], [false, false], [true, true]];
        for (spelling, style) in (0..SPELLINGS).flat_map(|spelling| styles.map(|style| (spelling, style))) {
            let model = model(graph(pattern, spelling, style, 1.0));
            let layers: Vec<_> =
                model.layers.iter().map(|layer| (layer.kind.as_str(), layer.lane_operations)).collect();
            let weights = [0, 1].iter().filter(|&&number| {
                let is_it = |term: &Term| matches!(term, Term::Weight(one) | Term::Given(one) if *one == number);
                has(&pattern.term, &is_it)
            });
            let lanes = pattern.lanes + weights.count() as u64;
            assert_eq!(layers, [(pattern.name, lanes)], "spelling {spelling}, {style:?} of {pattern:?}");
        }
    }
}

#[test]
fn with_other_constants_it_is_something_else() {
    for pattern in PATTERNS {
        for spelling in 0..SPELLINGS {
            let [same, other] = [1.0, 1.01].map(|factor| graph(pattern, spelling, [true, false], factor));
            // Not every spelling has a constant.
            if same != other {
                let kinds: Vec<_> = model(other).layers.iter().map(|layer| layer.kind.clone()).collect();
                assert_ne!(kinds, [pattern.name], "spelling {spelling} of {pattern:?}");
            }
        }
    }
}
