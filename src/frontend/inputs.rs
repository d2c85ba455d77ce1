//! Facts of the graph's inputs: what the file declares, where the user says nothing else.

use std::collections::BTreeSet;

use super::Options;
use super::dims::{self, Dims, Size};
use super::error::Kind;
use super::fact::{ElementType, Fact};
use super::graph::{Value, Wrong};
use super::ops::Refusal;
use super::proto::{GraphProto, TensorShapeProto, TypeProto, type_proto};

/// The inputs that have been met.
pub(super) struct Inputs<'a> {
    options: &'a Options,
    dims: &'a Dims,
    wrong: Vec<Wrong>,
    /// Names of dimensions without a size, in the order in which they are met.
    unbound: Vec<String>,
    /// Inputs with a dimension that has neither size nor name, each with a shape that it might have.
    unnamed: Vec<(String, Vec<u64>)>,
}

/// What `--dim`, `--shape` and `--trip` can name in a model.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) dims: BTreeSet<String>,
    pub(super) inputs: BTreeSet<String>,
    pub(super) loops: BTreeSet<String>,
}

impl Names {
    pub(super) fn extend(&mut self, more: Self) {
        let Self { dims, inputs, loops } = more;
        self.dims.extend(dims);
        self.inputs.extend(inputs);
        self.loops.extend(loops);
    }

    /// Those of a graph's inputs, needed or not; an initializer may stand among them, but is none.
    pub(super) fn of(graph: &GraphProto) -> Self {
        let weights: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let mut names = Self::default();
        for input in graph.input.iter().filter(|input| !weights.contains(input.name.as_str())) {
            names.inputs.insert(input.name.clone());
            let shape = input.r#type.as_ref().and_then(tensor_of).and_then(|tensor| tensor.shape.as_ref());
            names.dims.extend(shape.iter().flat_map(|shape| &shape.dim).flat_map(dims::names));
        }
        names
    }
}

impl<'a> Inputs<'a> {
    pub(super) fn new(options: &'a Options, dims: &'a Dims) -> Self {
        Self { options, dims, wrong: Vec::new(), unbound: Vec::new(), unnamed: Vec::new() }
    }

    /// The fact of an input; `None` where something is wrong with it, which is noted.
    pub(super) fn fact(&mut self, value: &Value) -> Option<Fact> {
        let Some(tensor) = value.declared.as_ref().and_then(tensor_of) else {
            let kind = value.declared.as_ref().map_or("no tensor", kind_of);
            let what = format!("has input '{}' that is {kind}", value.name);
            let mend = match kind {
                "a sequence" => format!("say how many tensors it has, as in --shape '{}=3'", value.name),
                _ => "take out the nodes that read it, and give the model the tensor that they make".into(),
            };
            self.wrong.push((None, Refusal::mended(what, mend).into()));
            return None;
        };
        let Some(element) = ElementType::from_onnx(tensor.elem_type.into()) else {
            return self.refuse(value, "of an unknown type");
        };
        let shape = match (self.options.shapes.get(&value.name), &tensor.shape) {
            (Some(given), _) => given.clone(),
            (None, Some(declared)) => self.sizes(&value.name, declared)?,
            (None, None) => {
                self.unnamed.push((value.name.clone(), vec![1, 128]));
                return None;
            }
        };
        let fact = Fact::at_run_time(shape, element);
        if fact.elements().is_none() {
            return self.refuse(value, "that is too large");
        }
        Some(fact)
    }

    /// What the user should know of an input: a size of 0, which the file declares, stands for an unknown one in some.
    pub(super) fn note(&self, value: &Value, fact: &Fact) -> Option<String> {
        let declared = value.declared.as_ref().and_then(tensor_of)?.shape.as_ref()?;
        if self.options.shapes.contains_key(&value.name) || !declared.dim.iter().any(dims::is_zero) {
            return None;
        }
        let Value { name, .. } = value;
        let sizes: Vec<_> = fact.shape.iter().map(u64::to_string).collect();
        let sizes = sizes.join(",");
        Some(format!(
            "reads input '{name}', which is taken to be empty, for the file declares a dimension of 0; if that stands for \
             an unknown one, give its shape, with another size in --shape '{name}={sizes}'"
        ))
    }

    /// The sizes that an input declares, all of which have to be known.
    fn sizes(&mut self, input: &str, shape: &TensorShapeProto) -> Option<Vec<u64>> {
        let sizes: Vec<Size> = shape.dim.iter().map(|dim| self.dims.size(dim)).collect();
        if sizes.iter().any(|size| matches!(size, Size::Unnamed)) {
            let example = shape.dim.iter().map(|dim| self.dims.known(dim).unwrap_or(1)).collect();
            self.unnamed.push((input.to_owned(), example));
            return None;
        }
        let mut known = Vec::with_capacity(sizes.len());
        for size in sizes {
            match size {
                Size::Known(size) => known.push(size),
                Size::Unbound(names) => {
                    for name in names {
                        if !self.unbound.contains(&name) {
                            self.unbound.push(name);
                        }
                    }
                }
                Size::Unnamed => {}
                Size::Unsound(dim) => {
                    let what = format!("has input '{input}' with a dimension '{dim}', which is then no size");
                    let mend = format!("give other sizes to its names, or one to itself, as in --dim '{dim}=1'");
                    self.wrong.push((None, Refusal::mended(what, mend).into()));
                }
            }
        }
        (known.len() == shape.dim.len()).then_some(known)
    }

    fn refuse(&mut self, value: &Value, what: &str) -> Option<Fact> {
        let refusal = Refusal::dynamic(format!("has input '{}' {what}", value.name));
        self.wrong.push((None, refusal.into()));
        None
    }

    /// All that is wrong with the inputs; that which takes but a flag first.
    pub(super) fn finish(mut self) -> Vec<Wrong> {
        if !self.unnamed.is_empty() {
            self.wrong.insert(0, (None, Kind::UnboundInputs(self.unnamed)));
        }
        if !self.unbound.is_empty() {
            self.wrong.insert(0, (None, Kind::UnboundDims(self.unbound)));
        }
        self.wrong
    }
}

/// The tensor that a type is, or may be.
pub(super) fn tensor_of(declared: &TypeProto) -> Option<&type_proto::Tensor> {
    match declared.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
        type_proto::Value::OptionalType(inner) => tensor_of(inner.elem_type.as_ref()?),
        type_proto::Value::SequenceType(_) | type_proto::Value::MapType(_) | type_proto::Value::SparseTensorType(_) => {
            None
        }
    }
}

/// What a type is called that is no tensor.
fn kind_of(declared: &TypeProto) -> &'static str {
    match &declared.value {
        Some(type_proto::Value::SequenceType(_)) => "a sequence",
        Some(type_proto::Value::MapType(_)) => "a map",
        Some(type_proto::Value::SparseTensorType(_)) => "a sparse tensor",
        Some(type_proto::Value::OptionalType(inner)) => inner.elem_type.as_deref().map_or("no tensor", kind_of),
        Some(type_proto::Value::TensorType(_)) | None => "no tensor",
    }
}
