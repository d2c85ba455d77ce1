//! Facts of the graph's inputs: what the file declares, where the user says nothing else.

use std::collections::BTreeSet;

use super::Options;
use super::error::Kind;
use super::fact::{ElementType, Fact};
use super::graph::{Value, Wrong};
use super::ops::Refusal;
use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::type_proto;
use super::proto::{TensorShapeProto, TypeProto};

/// The inputs that have been met.
pub(super) struct Inputs<'a> {
    options: &'a Options,
    pub(super) names: Names,
    pub(super) wrong: Vec<Wrong>,
    /// Names of dimensions without a size, in the order in which they are met.
    unbound: Vec<String>,
    /// Inputs with a dimension that has neither size nor name.
    unnamed: Vec<String>,
}

/// What `--dim` and `--shape` can name in a model.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) dims: BTreeSet<String>,
    pub(super) inputs: BTreeSet<String>,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        let (names, wrong) = (Names::default(), Vec::new());
        Self { options, names, wrong, unbound: Vec::new(), unnamed: Vec::new() }
    }

    /// The fact of an input; `None` where something is wrong with it, which is noted.
    pub(super) fn fact(&mut self, value: &Value) -> Option<Fact> {
        self.names.inputs.insert(value.name.clone());
        let tensor = value.declared.as_ref().and_then(tensor_of);
        let Some(tensor) = tensor else { return self.refuse(value, "that is no tensor") };
        let Some(element) = ElementType::from_onnx(tensor.elem_type.into()) else {
            return self.refuse(value, "of an unknown type");
        };
        for dim in tensor.shape.iter().flat_map(|shape| &shape.dim) {
            self.names.dims.extend(name_of(dim).map(str::to_owned));
        }
        let shape = match (self.options.shapes.get(&value.name), &tensor.shape) {
            (Some(given), _) => given.clone(),
            (None, Some(declared)) => self.sizes(&value.name, declared)?,
            (None, None) => {
                self.unnamed.push(value.name.clone());
                return None;
            }
        };
        let fact = Fact::at_run_time(shape, element);
        if fact.elements().is_none() {
            return self.refuse(value, "that is too large");
        }
        Some(fact)
    }

    /// The sizes that an input declares, all of which have to be known.
    fn sizes(&mut self, input: &str, shape: &TensorShapeProto) -> Option<Vec<u64>> {
        let sizes: Vec<_> = shape.dim.iter().map(|dim| size_of(dim, self.options)).collect();
        if shape.dim.iter().zip(&sizes).any(|(dim, size)| size.is_none() && name_of(dim).is_none()) {
            self.unnamed.push(input.to_owned());
            return None;
        }
        for (dim, size) in shape.dim.iter().zip(&sizes) {
            if let (None, Some(name)) = (size, name_of(dim))
                && !self.unbound.iter().any(|known| known == name)
            {
                self.unbound.push(name.to_owned());
            }
        }
        sizes.into_iter().collect()
    }

    fn refuse(&mut self, value: &Value, what: &str) -> Option<Fact> {
        let refusal = Refusal::dynamic(format!("has input '{}' {what}", value.name));
        self.wrong.push((None, refusal.into()));
        None
    }

    /// All that is wrong with the inputs; that which takes but a flag first.
    pub(super) fn finish(mut self) -> (Names, Vec<Wrong>) {
        if !self.unnamed.is_empty() {
            self.wrong.insert(0, (None, Kind::UnboundInputs(self.unnamed)));
        }
        if !self.unbound.is_empty() {
            self.wrong.insert(0, (None, Kind::UnboundDims(self.unbound)));
        }
        (self.names, self.wrong)
    }
}

/// The tensor that a type is, or may be.
fn tensor_of(declared: &TypeProto) -> Option<&type_proto::Tensor> {
    match declared.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
        type_proto::Value::OptionalType(inner) => tensor_of(inner.elem_type.as_ref()?),
        type_proto::Value::SequenceType(_) | type_proto::Value::MapType(_) | type_proto::Value::SparseTensorType(_) => {
            None
        }
    }
}

/// The size of a dimension, where the file says it or the user does. 0 stands for an unknown one in many files.
pub(super) fn size_of(dim: &Dimension, options: &Options) -> Option<u64> {
    match dim.value.as_ref()? {
        dimension::Value::DimValue(size) => u64::try_from(*size).ok().filter(|&size| size > 0),
        dimension::Value::DimParam(_) => options.dims.get(name_of(dim)?).copied().filter(|&size| size > 0),
    }
}

/// The name of a dimension, where it can be told from others: many exporters call all of them `?`.
fn name_of(dim: &Dimension) -> Option<&str> {
    match dim.value.as_ref()? {
        dimension::Value::DimParam(name) if !name.is_empty() && !name.starts_with('?') => Some(name),
        dimension::Value::DimParam(_) | dimension::Value::DimValue(_) => None,
    }
}
