//! What can be wrong with a model: where it is, what it is, and the mend.

use std::fmt;

use strsim::levenshtein;

use crate::ir::Fault;

/// All that is wrong with one file, as far as it could be read; never empty.
#[derive(Debug)]
pub struct Errors(pub Vec<Error>);

/// One thing that is wrong, as a sentence.
#[derive(Debug)]
#[non_exhaustive]
pub struct Error {
    /// The file's path, or the name under which its bytes were given.
    pub file: String,
    /// The node, where one is to blame.
    pub node: Option<NodeName>,
    /// What is wrong.
    pub kind: Kind,
}

/// A node as messages name it: `node 'conv1' (Conv)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName {
    /// Its name; its first output's where it has none.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// The version of the operator's domain that the model imports.
    pub opset: i64,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Kind {
    /// The system does not give the file.
    #[error("cannot be read ({0})")]
    Unreadable(#[source] std::io::Error),
    /// No bytes.
    #[error("is empty")]
    Empty,
    /// A script, a JSON file, an HTML page that was saved in place of the model.
    #[error("is a text file, not an ONNX model")]
    Text,
    /// Not the wire format, or not to its end.
    #[error("is cut off or is no ONNX model ({0})")]
    Malformed(#[source] prost::DecodeError),
    /// Valid bytes without a graph.
    #[error("has no graph, so it is no ONNX model or is cut off")]
    NoGraph,
    /// A graph without operator sets, as a file that is cut off behind its graph has.
    #[error("does not say its operator set, so it is cut off or older than ONNX 1.0")]
    NoOpset,
    /// Nothing is asked of the graph.
    #[error("has a graph without outputs")]
    NoOutputs,
    /// A name that is read and that nothing makes.
    #[error("needs tensor '{0}', which no node, input or initializer makes")]
    UnknownTensor(String),
    /// A name that is made twice.
    #[error("makes tensor '{0}', which exists already")]
    MadeTwice(String),
    /// A node that needs its own result.
    #[error("needs its own result: the graph has a cycle")]
    Cycle,
    /// No row in the operator table.
    #[error("has an operator that is not known (domain '{domain}', {seen})")]
    UnknownOperator {
        /// `ai.onnx`, or whose operator it is.
        domain: String,
        /// The shapes of its inputs.
        seen: String,
    },
    /// Dimensions that have a name and no size.
    #[error("has dimensions without a size: {}", listed(.0.iter()))]
    UnboundDims(Vec<String>),
    /// Inputs whose dimensions have neither size nor a name of their own, each with a shape that it might have.
    #[error("has inputs with dimensions that have neither size nor name: {}", listed(.0.iter().map(|(name, _)| name)))]
    UnboundInputs(Vec<(String, Vec<u64>)>),
    /// Functions that call themselves, or bodies within bodies without an end.
    #[error("has functions, branches or loops that are nested too deep, or too many nodes in them")]
    EndlessCalls,
    /// Sizes for what the model does not have.
    #[error("has no {what} '{name}' (it has: {})", listed(.known.iter()))]
    NoSuchName {
        /// `dimension`, `input` or `loop`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// All that there are.
        known: Vec<String>,
    },
    /// What an operator's rule refuses.
    #[error("{what}")]
    Refused {
        /// A sentence's end: `has …`.
        what: String,
        /// What to do.
        mend: String,
    },
    /// A model that is too large, or a mistake of ours.
    #[error("gives no sound model: {0}")]
    Unsound(#[source] Fault),
}

impl Kind {
    /// What to do, as a sentence's end.
    pub fn mend(&self) -> String {
        match self {
            Self::Unreadable(_) => "check its path and that you may read it".into(),
            Self::Empty | Self::Malformed(_) | Self::NoGraph | Self::NoOpset => "export or copy it again".into(),
            Self::Text => "give the .onnx file itself".into(),
            Self::NoOutputs | Self::UnknownTensor(_) | Self::MadeTwice(_) | Self::Cycle | Self::EndlessCalls => {
                "export the model again, or check it with onnx.checker".into()
            }
            Self::UnknownOperator { domain: _, seen: _ } => {
                "declare the shapes of its outputs in value_info, export the model without it, or add a row to \
                 frontend/ops"
                    .into()
            }
            Self::UnboundDims(names) => {
                let flags: Vec<_> = names.iter().map(|name| format!("--dim {name}=1")).collect();
                format!("give them, as in {}", flags.join(" "))
            }
            Self::UnboundInputs(inputs) => {
                let sizes = |shape: &[u64]| shape.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
                let flags: Vec<_> =
                    inputs.iter().map(|(name, shape)| format!("--shape {name}={}", sizes(shape))).collect();
                format!("give their whole shapes, as in {}", flags.join(" "))
            }
            Self::NoSuchName { what: _, name, known } => match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean '{near}'?"),
                None => "leave it out, or give one of these".into(),
            },
            Self::Refused { what: _, mend } => mend.clone(),
            Self::Unsound(_) => "make the model smaller, or report this file".into(),
        }
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The known name that is the nearest to a misspelt one, if any is near: a third of its letters may be wrong.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let (distance, near) = known.into_iter().map(|known| (levenshtein(&name, &known.to_lowercase()), known)).min()?;
    (distance <= near.len() / 3).then_some(near)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(NodeName { name, op, opset }) => {
                let (file, kind, mend) = (&self.file, &self.kind, self.kind.mend());
                write!(f, "{file}: node '{name}' ({op}, operator set {opset}) {kind}; {mend}")
            }
            None => write!(f, "{} {}; {}", self.file, self.kind, self.kind.mend()),
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node '{}' ({})", self.name, self.op)
    }
}

impl fmt::Display for Errors {
    /// A line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}

impl std::error::Error for Errors {}
