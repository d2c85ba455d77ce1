//! What an operator's function sees: its node's inputs and attributes, with errors that say what to do.

use std::borrow::Cow;

use super::super::error::Kind;
use super::super::fact::{ElementType, Fact, elements};
use super::super::graph::{Node, ValueId};
use super::super::proto::{AttributeProto, TensorProto};

/// Numbers of ONNX's `AttributeProto.AttributeType`.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const TENSOR: i32 = 4;
const FLOATS: i32 = 6;
const INTS: i32 = 7;
const SPARSE_TENSOR: i32 = 11;

/// A node, and what is known of its inputs.
pub(in super::super) struct Context<'a> {
    node: &'a Node,
    inputs: Vec<Option<&'a Fact>>,
    /// The version of the node's domain.
    pub(in super::super) opset: i64,
    given: Given<'a>,
}

/// What the user says of an output whose size only data decides.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Given<'a> {
    /// The one that is open.
    pub(in super::super) size: Option<u64>,
    /// Or all of them.
    pub(in super::super) shape: Option<&'a [u64]>,
}

/// Why an operator's function refuses a node. Whoever called it knows which node that is.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Refusal {
    /// A sentence's end: `has …`, `needs …`.
    pub(in super::super) what: String,
    pub(in super::super) mend: Cow<'static, str>,
    /// Whether it is only the shape of the node's output that is not known.
    pub(in super::super) is_open: bool,
}

impl Refusal {
    /// A model that breaks the operator's rules.
    pub(in super::super) fn new(what: impl Into<String>) -> Self {
        Self::mended(what, "export the model again, or check it with onnx.checker")
    }

    /// A model that is right, and that can't be laid out before it runs.
    pub(in super::super) fn dynamic(what: impl Into<String>) -> Self {
        let mend = "export the model with fixed shapes, or simplify it";
        Self { is_open: true, ..Self::mended(what, mend) }
    }

    /// With what to do.
    pub(in super::super) fn mended(what: impl Into<String>, mend: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), mend: mend.into(), is_open: false }
    }
}

impl From<Refusal> for Kind {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { what: refusal.what, mend: refusal.mend.into_owned() }
    }
}

impl<'a> Context<'a> {
    pub(in super::super) fn new(node: &'a Node, inputs: Vec<Option<&'a Fact>>, given: Given<'a>) -> Self {
        Self { node, inputs, opset: node.name.opset, given }
    }

    /// The same node with other inputs.
    pub(super) fn with<'b>(&self, inputs: Vec<Option<&'b Fact>>) -> Context<'b>
    where
        'a: 'b,
    {
        Context { node: self.node, inputs, opset: self.opset, given: self.given }
    }

    /// The operator's name, for those that share a function.
    pub(super) fn op(&self) -> &'a str {
        &self.node.name.op
    }

    /// How many inputs the node lists.
    pub(super) fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// How many outputs the node lists.
    pub(super) fn output_count(&self) -> usize {
        self.node.outputs.len()
    }

    /// An input that has to be there.
    pub(super) fn input(&self, index: usize) -> Result<&'a Fact, Refusal> {
        self.optional(index).ok_or_else(|| Refusal::new(format!("needs input {index}")))
    }

    /// A size that only data decides: what the user says, up to a bound, and otherwise that.
    pub(super) fn bounded(&self, most: u64) -> u64 {
        self.given.size.map_or(most, |given| given.min(most))
    }

    /// A shape that only data decides: what the user says, up to a bound, and otherwise that.
    pub(super) fn bounded_shape(&self, most: &[u64]) -> Vec<u64> {
        let given = self.given.shape.filter(|given| given.len() == most.len()).unwrap_or(most);
        given.iter().zip(most).map(|(&given, &most)| given.min(most)).collect()
    }

    /// What the user says of the shape of the node's output.
    pub(in super::super) fn given_shape(&self) -> Option<&'a [u64]> {
        self.given.shape
    }

    /// Which value an input is, for what hands it on.
    pub(super) fn value(&self, index: usize) -> Option<ValueId> {
        self.node.inputs.get(index).copied().flatten()
    }

    /// An input that may be left out.
    pub(super) fn optional(&self, index: usize) -> Option<&'a Fact> {
        self.inputs.get(index).copied().flatten()
    }

    /// The elements of an input that has to be there and to be known before the model runs.
    pub(super) fn ints(&self, index: usize) -> Result<&'a [i64], Refusal> {
        let fact = self.input(index)?;
        fact.as_ints().ok_or_else(|| Refusal::dynamic(format!("needs input {index} before the model runs")))
    }

    /// The elements of an input that may be left out.
    pub(super) fn optional_ints(&self, index: usize) -> Result<Option<&'a [i64]>, Refusal> {
        self.optional(index).map(|_| self.ints(index)).transpose()
    }

    /// An attribute of one whole number.
    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Refusal> {
        Ok(self.attribute(name, INT)?.map(|attribute| attribute.i))
    }

    /// An attribute that is 0 or not.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        Ok(self.int(name)?.map_or(default, |int| int != 0))
    }

    /// An attribute of whole numbers.
    pub(super) fn int_list(&self, name: &str) -> Result<Option<&'a [i64]>, Refusal> {
        Ok(self.attribute(name, INTS)?.map(|attribute| &attribute.ints[..]))
    }

    /// An attribute of one float.
    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, Refusal> {
        Ok(self.attribute(name, FLOAT)?.map(|attribute| attribute.f))
    }

    /// An attribute of floats.
    pub(super) fn float_list(&self, name: &str) -> Result<Option<&'a [f32]>, Refusal> {
        Ok(self.attribute(name, FLOATS)?.map(|attribute| &attribute.floats[..]))
    }

    /// An attribute of one whole number from 0 up.
    pub(super) fn size(&self, name: &str, default: u64) -> Result<u64, Refusal> {
        let Some(given) = self.int(name)? else { return Ok(default) };
        u64::try_from(given).map_err(|_| Refusal::new(format!("has {given} as its attribute '{name}'")))
    }

    /// An attribute of one whole number that has to be there.
    pub(super) fn needed_size(&self, name: &str) -> Result<u64, Refusal> {
        match self.has(name) {
            true => self.size(name, 0),
            false => Err(Refusal::new(format!("needs an attribute '{name}'"))),
        }
    }

    /// The elements of an input that has to be there and to be known, as sizes.
    pub(super) fn sizes(&self, index: usize) -> Result<Vec<u64>, Refusal> {
        let given = self.ints(index)?;
        let sizes = given.iter().map(|&size| u64::try_from(size)).collect::<Result<_, _>>();
        sizes.map_err(|_| Refusal::new(format!("has sizes {given:?} in its input {index}")))
    }

    /// What an attribute with the number of a type says; otherwise the type that is given.
    pub(super) fn element_or(&self, name: &str, otherwise: ElementType) -> Result<ElementType, Refusal> {
        match self.int(name)? {
            Some(0) | None => Ok(otherwise),
            Some(data_type) => self.element(data_type),
        }
    }

    /// An attribute of text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let Some(attribute) = self.attribute(name, STRING)? else { return Ok(None) };
        let text = std::str::from_utf8(&attribute.s);
        text.map(Some).map_err(|_| Refusal::new(format!("has an attribute '{name}' that is no text")))
    }

    /// An attribute of a tensor.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<&'a TensorProto>, Refusal> {
        Ok(self.attribute(name, TENSOR)?.and_then(|attribute| attribute.t.as_ref()))
    }

    /// What is known of an attribute of a sparse tensor.
    pub(super) fn sparse(&self, name: &str) -> Result<Option<Fact>, Refusal> {
        let Some(sparse) = self.attribute(name, SPARSE_TENSOR)?.and_then(|found| found.sparse_tensor.as_ref()) else {
            return Ok(None);
        };
        let shape = sparse.dims.iter().map(|&size| u64::try_from(size).ok()).collect::<Option<Vec<_>>>();
        let data_type = sparse.values.as_ref().map_or(0, |values| values.data_type);
        let shape = shape.ok_or_else(|| Refusal::new(format!("has a sparse tensor of shape {:?}", sparse.dims)))?;
        Ok(Some(Fact::constant(shape, self.element(data_type.into())?)))
    }

    /// Whether the node has an attribute, of whatever type.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node.attribute(name).is_some()
    }

    /// The length of an attribute of floats, or of texts.
    pub(super) fn list_length(&self, name: &str) -> Option<usize> {
        let found = self.node.attribute(name)?;
        Some(found.floats.len().max(found.ints.len()).max(found.strings.len()))
    }

    /// The element type of a number as attributes give it.
    pub(super) fn element(&self, data_type: i64) -> Result<ElementType, Refusal> {
        ElementType::from_onnx(data_type).ok_or_else(|| Refusal::new(format!("has the unknown type {data_type}")))
    }

    /// An attribute, whose type must be the one expected; files of the first ONNX versions do not say it.
    fn attribute(&self, name: &str, expected: i32) -> Result<Option<&'a AttributeProto>, Refusal> {
        match self.node.attribute(name) {
            Some(found) if found.r#type != expected && found.r#type != 0 => {
                Err(Refusal::new(format!("has an attribute '{name}' of the wrong type")))
            }
            found => Ok(found),
        }
    }
}

/// The dimension that an axis names, negative ones counted from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Refusal> {
    let end = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_start = if axis < 0 { axis.checked_add(end) } else { Some(axis) };
    let found = from_start.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
    found.ok_or_else(|| Refusal::new(format!("has axis {axis}, which a tensor of rank {rank} does not have")))
}

/// The dimensions that axes name, ascending, each once.
pub(super) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, Refusal> {
    let mut found = axes.iter().map(|&one| axis(one, rank)).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A size as a stride or offset.
pub(super) fn signed(size: u64) -> Result<i64, Refusal> {
    i64::try_from(size).map_err(|_| Refusal::new("has sizes that are out of range"))
}

/// A shape as messages show it: `1×128×768`.
pub(in super::super) fn shown(shape: &[u64]) -> String {
    if shape.is_empty() {
        return "a scalar".into();
    }
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join("×")
}

/// The product of sizes, where it is one.
pub(super) fn product(sizes: &[u64]) -> Result<u64, Refusal> {
    elements(sizes).ok_or_else(|| Refusal::new("has sizes that are out of range"))
}
