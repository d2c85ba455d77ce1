//! Sizes of dimensions: what the file says, and what the user gives to names.

use std::collections::{BTreeMap, BTreeSet};

use super::Options;
use super::expression::Expression;
use super::inputs::tensor_of;
use super::proto::GraphProto;
use super::proto::tensor_shape_proto::{Dimension, dimension};

/// The sizes that names have.
pub(super) struct Dims {
    sizes: BTreeMap<String, u64>,
}

/// What is known of a dimension.
pub(super) enum Size {
    Known(u64),
    /// These names have no size.
    Unbound(Vec<String>),
    /// It has neither size nor a name of its own.
    Unnamed,
    /// What this says is no size.
    Unsound(String),
}

impl Dims {
    /// The sizes of `--dim`; and of the names of dimensions in inputs that have their shapes from `--shape`, where these
    /// say the same.
    pub(super) fn new(options: &Options, graph: &GraphProto) -> Self {
        let mut seen: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for input in &graph.input {
            let declared = input.r#type.as_ref().and_then(tensor_of).and_then(|tensor| tensor.shape.as_ref());
            let (Some(given), Some(declared)) = (options.shapes.get(&input.name), declared) else { continue };
            let pairs = declared.dim.iter().zip(given).filter(|_| given.len() == declared.dim.len());
            for (name, &size) in pairs.filter_map(|(dim, size)| Some((name_of(dim)?, size))) {
                seen.entry(name).or_default().insert(size);
            }
        }
        let mut sizes = BTreeMap::new();
        for (name, given) in seen {
            if let (Some(&size), 1) = (given.first(), given.len()) {
                sizes.insert(name.to_owned(), size);
            }
        }
        sizes.extend(options.dims.iter().map(|(name, &size)| (name.clone(), size)));
        Self { sizes }
    }

    /// The size of a dimension. A name that has none may be arithmetic over others that have.
    pub(super) fn size(&self, dim: &Dimension) -> Size {
        if let Some(dimension::Value::DimValue(size)) = dim.value {
            return u64::try_from(size).map_or(Size::Unnamed, Size::Known);
        }
        let Some(name) = name_of(dim) else { return Size::Unnamed };
        if let Some(&size) = self.sizes.get(name) {
            return Size::Known(size);
        }
        let meant = Expression::of(name);
        let names: Vec<_> = meant.names().into_iter().filter(|name| !self.sizes.contains_key(*name)).collect();
        match meant.size(&self.sizes) {
            Some(size) => Size::Known(size),
            None if names.is_empty() => Size::Unsound(name.to_owned()),
            None => Size::Unbound(names.into_iter().map(str::to_owned).collect()),
        }
    }

    /// The size of a dimension of what a node makes, if it is known; there 0 stands for an unknown one in many files.
    pub(super) fn known(&self, dim: &Dimension) -> Option<u64> {
        match self.size(dim) {
            Size::Known(size) => Some(size).filter(|_| !is_zero(dim)),
            Size::Unbound(_) | Size::Unnamed | Size::Unsound(_) => None,
        }
    }
}

/// Whether the file says that a dimension is 0.
pub(super) fn is_zero(dim: &Dimension) -> bool {
    matches!(dim.value, Some(dimension::Value::DimValue(0)))
}

/// The names that the user may give a size to.
pub(super) fn names(dim: &Dimension) -> Vec<String> {
    let Some(whole) = name_of(dim) else { return Vec::new() };
    let meant = Expression::of(whole);
    meant.names().into_iter().chain([whole]).map(str::to_owned).collect()
}

/// The name of a dimension, where it can be told from others: many exporters call all of them `?`.
fn name_of(dim: &Dimension) -> Option<&str> {
    match dim.value.as_ref()? {
        dimension::Value::DimParam(name) if !name.is_empty() && !name.starts_with('?') => Some(name),
        dimension::Value::DimParam(_) | dimension::Value::DimValue(_) => None,
    }
}
