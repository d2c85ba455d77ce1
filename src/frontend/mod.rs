//! ONNX in, the layer IR out: every shape known, weights never read.
//!
//! The way of a model: `proto` decodes the mapped file; `expand` puts functions, branches and loops in place; `graph`
//! resolves names and orders the nodes; `infer` gives every value a shape and folds constants, by the table in `ops`;
//! `merge` lets quantisation that stands twice be one, `patterns` recognises what an exporter wrote as several operators,
//! `reorder` moves numbers to where they fuse, and `narrow` and `scales` say what is stored quantised; `fuse` groups the
//! nodes that become one layer; `emit` gives values places in tensors, so that what only moves indices vanishes into
//! accesses; `order` lets the layers run in the order that holds the least.
//!
//! Nothing that a file holds makes this panic. All errors that can be found are given at once.

mod arithmetic;
mod constant;
mod control;
mod dims;
mod emit;
mod error;
mod expand;
mod expression;
mod fact;
mod fingerprint;
mod flat;
mod fuse;
mod graph;
mod infer;
mod inputs;
mod mapped;
mod merge;
mod narrow;
mod ops;
mod opsets;
mod order;
mod patterns;
mod payload;
mod proto;
mod reorder;
mod scales;
mod uses;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use bytes::Bytes;

pub use error::{Error, Errors, Kind, NodeName, nearest};

use crate::ir::{Model, TensorKind};
use dims::Dims;
use expand::Loops;
use graph::{Graph, Wrong};
use infer::{TypedGraph, Untyped};
use inputs::Names;
use opsets::Opsets;
use proto::ModelProto;

/// Bodies within bodies deeper than this are no network's.
const DEEPEST: usize = 64;

/// What the user says of a model.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Sizes of named dimensions: `--dim batch=1`. Of `past + 1` the size follows from that of `past`, unless it is given
    /// itself. By the name of a node, a size that only data decides, in place of its upper bound.
    pub dims: BTreeMap<String, u64>,
    /// Shapes of whole inputs: `--shape input_ids=1,128`. They stand, whatever the file declares, and give the names in
    /// what it declares a size. Of a sequence, how many tensors it has. By the name of a node, the shape of what it makes,
    /// where only data decides it; of one in a loop's body the name has no number of a step.
    pub shapes: BTreeMap<String, Vec<u64>>,
    /// Steps of loops by the names of their nodes, where the model does not say them: `--trip NODE=8`. Of an If whose
    /// condition only data decides, 0 for its `else_branch` and 1 for its `then_branch`.
    pub trips: BTreeMap<String, u64>,
    /// Widths of float tensors: `--precision weights=int4,activations=fp16`.
    pub float_bits: FloatBits,
    /// Lane operations for each point of these operators, in place of the frontend's own.
    pub operations: BTreeMap<String, u64>,
}

/// The widths that float tensors of 16 bits and more take; `None`: the model's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FloatBits {
    /// Of weights.
    pub weights: Option<u64>,
    /// Of inputs, activations and outputs.
    pub activations: Option<u64>,
}

impl FloatBits {
    /// One width for all.
    pub const fn all(bits: u64) -> Self {
        Self { weights: Some(bits), activations: Some(bits) }
    }

    const fn of(self, kind: TensorKind) -> Option<u64> {
        match kind {
            TensorKind::Weight => self.weights,
            TensorKind::Input | TensorKind::Output | TensorKind::Activation => self.activations,
        }
    }
}

/// A model, and what the user should know of it.
#[derive(Clone, Debug)]
pub struct Import {
    /// The model; it passes [`Model::check`].
    pub model: Model,
    /// The names of the dimensions of its inputs, and of nodes whose sizes only data decides, which [`Options::dims`] may
    /// give.
    pub dims: BTreeSet<String>,
    /// The names of its inputs, which [`Options::shapes`] may give.
    pub inputs: BTreeSet<String>,
    /// The names of its loops, whose steps [`Options::trips`] may give.
    pub loops: BTreeSet<String>,
    /// Of each node in order; then where the file declares another shape than ours.
    pub warnings: Vec<Warning>,
}

impl Options {
    /// Names that are given and that none of the models has, as a user sees them: those of a `--dim` that no input or node
    /// has, of a `--shape` that is no input's, of a `--trip` that is no loop's. Several models may share one set of options.
    pub fn unknown_names(&self, imports: &[&Import]) -> Vec<Error> {
        let file: Vec<_> = imports.iter().map(|import| import.model.name.as_str()).collect();
        let of = |what, given: Vec<&String>, names: fn(&Import) -> &BTreeSet<String>| -> Vec<Error> {
            let known: BTreeSet<&String> = imports.iter().flat_map(|&import| names(import)).collect();
            let unknown = given.into_iter().filter(|name| !known.contains(name)).map(|name| {
                let known = known.iter().map(|&name| name.clone()).collect();
                Error {
                    file: file.join(" and "),
                    node: None,
                    kind: Kind::NoSuchName { what, name: name.clone(), known },
                }
            });
            unknown.collect()
        };
        let dims = of("dimension", self.dims.keys().collect(), |import| &import.dims);
        let inputs = of("input", self.shapes.keys().collect(), |import| &import.inputs);
        let loops = of("loop", self.trips.keys().collect(), |import| &import.loops);
        [dims, inputs, loops].into_iter().flatten().collect()
    }
}

/// Something that was assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Of which node.
    pub node: NodeName,
    /// What.
    pub what: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.what)
    }
}

/// What is known of an output before the model runs; for tests that compare it with what others say.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Inferred {
    /// The output's name.
    pub name: String,
    /// Shape and element type; one for each tensor of a sequence.
    pub tensors: Vec<(Vec<u64>, String)>,
    /// Whether it is a sequence.
    pub is_sequence: bool,
}

/// Shapes of a model's outputs, though no layer may be able to make them.
#[doc(hidden)]
pub fn infer_outputs(bytes: Bytes, options: &Options) -> Result<(Vec<Inferred>, Vec<Warning>), Errors> {
    let typed = proto::decode(bytes).map_err(|kind| vec![(None, kind)]).and_then(|proto| typed(proto, options));
    let (typed, _) = typed.map_err(|wrong| in_file("model", wrong))?;
    let inferred = |&value: &graph::ValueId| {
        let fact = &typed.facts[value];
        let tensors = match fact.as_sequence() {
            Some(items) => items.iter().map(|item| &item.fact).collect(),
            None => vec![fact],
        };
        let tensors = tensors.into_iter().map(|fact| (fact.shape.clone(), fact.element.name())).collect();
        Inferred { name: typed.graph.values[value].name.clone(), tensors, is_sequence: fact.as_sequence().is_some() }
    };
    Ok((typed.graph.outputs.iter().map(inferred).collect(), warnings(typed.warnings)))
}

/// The names of all operators that are known.
pub fn operators() -> impl Iterator<Item = &'static str> {
    ops::OPS.iter().map(|op| op.name)
}

/// Reads a model from a file, which is mapped.
pub fn read(path: &Path, options: &Options) -> Result<Import, Errors> {
    let file = path.display().to_string();
    let name = path.file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
    let imported = mapped::map(path).map_err(|error| vec![(None, Kind::Unreadable(error))]);
    imported.and_then(|bytes| import(bytes, &name, options)).map_err(|wrong| in_file(&file, wrong))
}

/// Reads a model from bytes; `name` is the model's and, in messages, the file's.
pub fn parse(bytes: Bytes, name: &str, options: &Options) -> Result<Import, Errors> {
    import(bytes, name, options).map_err(|wrong| in_file(name, wrong))
}

fn import(bytes: Bytes, name: &str, options: &Options) -> Result<Import, Vec<Wrong>> {
    let proto = proto::decode(bytes).map_err(|kind| vec![(None, kind)])?;
    let fingerprint = fingerprint::of(&proto);
    let in_file_order = build(proto, name, fingerprint, options)?;
    Ok(Import { model: order::for_least_peak(in_file_order.model), ..in_file_order })
}

fn build(proto: ModelProto, name: &str, fingerprint: String, options: &Options) -> Result<Import, Vec<Wrong>> {
    let (mut typed, names) = typed(proto, options)?;
    typed.spread_outputs();
    if typed.graph.outputs.iter().all(|&output| typed.facts[output].elements() == Some(0)) {
        let what = "has no output with elements, so that there is nothing to compute";
        let mend = "give the dimensions of its inputs sizes above 0, with --dim or --shape";
        return Err(vec![(None, ops::Refusal::mended(what, mend).into())]);
    }
    merge::merge(&mut typed);
    patterns::recognise(&mut typed);
    if options.float_bits.activations.is_some() {
        narrow::same_floats(&mut typed);
    }
    reorder::reorder(&mut typed);
    narrow::narrow(&mut typed);
    scales::read_scales(&mut typed);
    let uses = uses::Uses::new(&typed);
    let groups = fuse::groups(&typed, &uses);
    let (tensors, layers, assumed) = emit::emit(&typed, &uses, &groups, options)?;
    let model = Model { name: name.to_owned(), fingerprint, tensors, layers };
    model.check().map_err(|fault| vec![(None, Kind::Unsound(fault))])?;
    let Names { dims, inputs, loops } = names;
    Ok(Import { model, dims, inputs, loops, warnings: warnings([typed.warnings, assumed].concat()) })
}

/// A graph whose every value has a shape: with functions, branches and loops in place. And what the user can give.
fn typed(mut proto: ModelProto, options: &Options) -> Result<(TypedGraph, Names), Vec<Wrong>> {
    expand::inline(&mut proto).map_err(|wrong| vec![wrong])?;
    let opsets = Opsets::of(&proto);
    let graph = proto.graph.get_or_insert_default();
    let spread = expand::sequences(graph, &options.shapes);
    let (dims, mut names) = (Dims::new(options, graph), Names::of(graph));
    names.inputs.extend(spread);
    let (mut assumed, mut loops) = (Vec::new(), Loops::default());
    for _ in 0..DEEPEST {
        match TypedGraph::new(Graph::new(&proto)?, options, &dims, &loops) {
            Ok(mut typed) => {
                typed.warnings.splice(0..0, assumed);
                names.extend(std::mem::take(&mut typed.met));
                return Ok((typed, names));
            }
            Err(Untyped::Wrong(wrong)) => return Err(once_a_body(wrong, &loops)),
            Err(Untyped::Decided { decisions, warnings, met }) => {
                assumed.extend(warnings);
                names.extend(met);
                let graph = proto.graph.get_or_insert_default();
                expand::control(graph, &decisions, &opsets, &mut loops).map_err(|wrong| vec![wrong])?;
            }
        }
    }
    Err(vec![(None, Kind::EndlessCalls)])
}

/// Errors of a node in a loop's body are told of its first step.
fn once_a_body(wrong: Vec<Wrong>, loops: &Loops) -> Vec<Wrong> {
    let mut told: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut left: Vec<(Wrong, usize)> = Vec::new();
    for (node, kind) in wrong {
        let key = node.as_ref().map(|node| (loops.without_step(&node.name), node.op.clone()));
        let at = key.filter(|(name, _)| node.as_ref().is_some_and(|node| *name != node.name));
        match at.map(|key| *told.entry(key).or_insert(left.len())).and_then(|at| left.get_mut(at)) {
            Some((_, others)) => *others += 1,
            None => left.push(((node, kind), 0)),
        }
    }
    let said = |((node, kind), others): (Wrong, usize)| match kind {
        Kind::Refused { what, mend } if others > 0 => {
            (node, Kind::Refused { what: format!("{what}, as in {others} other steps"), mend })
        }
        kind => (node, kind),
    };
    left.into_iter().map(said).collect()
}

fn warnings(of_nodes: Vec<(NodeName, String)>) -> Vec<Warning> {
    of_nodes.into_iter().map(|(node, what)| Warning { node, what }).collect()
}

fn in_file(file: &str, wrong: Vec<Wrong>) -> Errors {
    Errors(wrong.into_iter().map(|(node, kind)| Error { file: file.to_owned(), node, kind }).collect())
}
