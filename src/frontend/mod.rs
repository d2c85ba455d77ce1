//! ONNX in, the layer IR out: every shape known, weights never read.
//!
//! The way of a model: `proto` decodes the mapped file; `graph` resolves names and orders the nodes; `infer` gives
//! every value a shape and folds constants, by the table in `ops`; `fuse` groups the nodes that become one layer;
//! `emit` gives values places in tensors, so that what only moves indices vanishes into accesses.
//!
//! Nothing that a file holds makes this panic. All errors that can be found are given at once.

mod constant;
mod emit;
mod error;
mod fact;
mod fingerprint;
mod flat;
mod fuse;
mod graph;
mod infer;
mod mapped;
mod ops;
mod proto;
mod uses;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use bytes::Bytes;

pub use error::{Error, Errors, Kind, NodeName};

use crate::ir::Model;
use graph::{Graph, Wrong};
use infer::TypedGraph;
use proto::ModelProto;

/// What the user says of a model.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Sizes of named dimensions: `--dim batch=1`.
    pub dims: BTreeMap<String, u64>,
    /// The width that float tensors of 16 bits and more take; `None`: the model's own.
    pub float_bits: Option<u64>,
}

/// A model, and what the user should know of it.
#[derive(Clone, Debug)]
pub struct Import {
    /// The model; it passes [`Model::check`].
    pub model: Model,
    /// Of each node in order; then where the file declares another shape than ours.
    pub warnings: Vec<Warning>,
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
    build(proto, name, fingerprint, options)
}

fn build(proto: ModelProto, name: &str, fingerprint: String, options: &Options) -> Result<Import, Vec<Wrong>> {
    let typed = TypedGraph::new(Graph::new(proto)?, options)?;
    let uses = uses::Uses::new(&typed);
    let groups = fuse::groups(&typed, &uses);
    let (tensors, layers) = emit::emit(&typed, &uses, &groups, options.float_bits)?;
    let model = Model { name: name.to_owned(), fingerprint, tensors, layers };
    model.check().map_err(|fault| vec![(None, Kind::Unsound(fault))])?;
    let warnings = typed.warnings.into_iter().map(|(node, what)| Warning { node, what }).collect();
    Ok(Import { model, warnings })
}

fn in_file(file: &str, wrong: Vec<Wrong>) -> Errors {
    Errors(wrong.into_iter().map(|(node, kind)| Error { file: file.to_owned(), node, kind }).collect())
}
