//! The operators: one table, and for each a short function that gives shapes and loop nest together.
//!
//! A new operator is a row in [`OPS`] and, if no function that is there fits it, one that reads the node through its
//! [`Context`] and returns a [`Lowered`]: a fact for each output, and the [`Form`] of the work. A function never names
//! its node, and never looks beyond it: fusion, views and constants are the callers' matter.

mod attention;
mod body;
mod context;
mod conv;
mod detect;
mod einsum;
mod experts;
mod gather;
mod image;
pub(super) mod lanes;
mod learned;
mod loss;
mod matmul;
mod microsoft;
mod movement;
mod nest;
mod nhwc;
mod normalize;
mod open;
mod packed;
mod packed_weights;
mod pointwise;
mod pool;
mod projected;
mod quantize;
mod ragged;
mod random;
mod recurrent;
mod reduce;
mod resize;
mod scatter;
mod select;
mod sequence;
mod shape;
mod signal;
mod table;
mod text;
mod transpose;
mod trees;
mod window;

use super::fact::Fact;
use super::graph::Node;
use super::view;
use crate::ir::Access;

pub(super) use body::Body;
pub(super) use context::{Context, Given, Refusal, shown};
pub(super) use lanes::{MOVE, QUANTIZE};
pub(super) use movement::shifted;
pub(super) use nest::{Nest, Read, Source, input_of};
pub(super) use open::{element_of, example, open};
pub(super) use sequence::MOST_ITEMS;
pub(super) use table::OPS;

/// An operator.
pub(super) struct Op {
    /// Whose it is: "" for ONNX's own.
    pub(super) domain: &'static str,
    pub(super) name: &'static str,
    pub(super) lower: Lower,
}

/// Shapes and work of a node.
type Lower = fn(&Context<'_>) -> Result<Lowered, Refusal>;

/// A row of the table.
const fn row(domain: &'static str, name: &'static str, lower: Lower) -> Op {
    Op { domain, name, lower }
}

/// What an operator is.
#[derive(Debug)]
pub(super) struct Lowered {
    /// A fact for each output that the operator has, asked for or not; none where only the body makes them values.
    pub(super) outputs: Vec<Fact>,
    pub(super) form: Form,
    /// What the user should know of it.
    pub(super) warning: Option<Note>,
    /// What stands in for the node, where it is several layers; the form then only says shapes.
    pub(super) body: Option<Body>,
}

/// Something that was assumed.
#[derive(Debug)]
pub(super) enum Note {
    /// Of the work, which is none where the result is known before the model runs.
    Cost(String),
    /// Of the size of an output.
    Size(String),
    /// A size that only data decides is at most this.
    Bound(&'static str),
    /// So is a whole shape.
    BoundShape(&'static str),
    /// Of a shape that was given.
    Open(String),
}

/// The work of an operator.
#[derive(Debug)]
pub(super) enum Form {
    /// None: the outputs are known before the model runs.
    Constant,
    /// A loop nest that makes the first output.
    Nest(Nest),
    /// The same few operations for each element of the one output.
    Pointwise(Pointwise),
    /// Each output has elements of the first input, seen through an index map.
    Views(Vec<View>),
    /// The inputs side by side along an axis.
    Concat {
        /// Which.
        axis: usize,
    },
}

/// The work of a pointwise operator.
#[derive(Debug)]
pub(super) struct Pointwise {
    /// Operations of a vector lane for each element.
    pub(super) lanes: u64,
    pub(super) operands: Vec<PointwiseOperand>,
}

/// What a pointwise operator reads.
#[derive(Debug)]
pub(super) struct PointwiseOperand {
    /// Which input of the node.
    pub(super) input: usize,
    /// The element that an element of the output needs.
    pub(super) access: Access,
    /// Whether it scales its channel, so that the weights of a convolution just before can take it up.
    pub(super) is_scale: bool,
}

/// An output that has the elements of an input.
#[derive(Debug)]
pub(super) struct View {
    /// The input's index as a function of the output's; `None` where it is not affine.
    pub(super) read: Option<Access>,
    /// The output's index as a function of the input's; `None` where it is not affine, or not all elements stay.
    pub(super) write: Option<Access>,
}

impl View {
    /// The same elements at the same index.
    pub(super) fn same(rank: usize) -> Self {
        let same = view::identity(rank);
        Self { read: Some(same.clone()), write: Some(same) }
    }
}

impl Lowered {
    pub(super) fn new(outputs: Vec<Fact>, form: Form) -> Self {
        Self { outputs, form, warning: None, body: None }
    }

    /// Work of the vector unit: some operations for each element of the first output. Of an input of that shape the
    /// same element is read, of any other all of them.
    fn by_element(cx: &Context<'_>, outputs: Vec<Fact>, lanes: u64) -> Self {
        Self::by_row(cx, outputs, lanes, |_| false)
    }

    /// The same, where each element needs all of some axes, which are not cut.
    fn by_row(cx: &Context<'_>, outputs: Vec<Fact>, lanes: u64, is_whole: impl Fn(usize) -> bool) -> Self {
        let mut nest = Nest::vector(lanes);
        let shape = outputs.first().map(|fact| fact.shape.clone()).unwrap_or_default();
        nest.write = nest.axes(&shape, is_whole);
        for i in 0..cx.input_count() {
            let access = cx.optional(i).filter(|fact| fact.shape == shape).map(|_| nest.write.clone());
            nest.reads.push(Read { source: Source::Input(i), access });
        }
        Self::new(outputs, Form::Nest(nest))
    }

    /// The same work with something that the user should know.
    fn warned(self, warning: impl Into<String>) -> Self {
        Self { warning: Some(Note::Cost(warning.into())), ..self }
    }

    /// The same shapes, made by a body.
    fn within(self, body: Body) -> Self {
        Self { warning: None, body: Some(body), ..self }
    }

    /// The same work; that of the operator itself is not known.
    fn roughly(self) -> Self {
        self.warned("is costed as a few vector operations for each element of its output")
    }

    /// Whether only data decides the shape of what it makes.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.warning, Some(Note::Open(_) | Note::BoundShape(_)))
    }

    /// The same work, of which data decides how much there is, up to a bound: [`Context::bounded`].
    fn at_most(self, what: &'static str) -> Self {
        Self { warning: Some(Note::Bound(what)), ..self }
    }
}

impl From<view::OutOfRange> for Refusal {
    fn from(_: view::OutOfRange) -> Self {
        Refusal::new("has sizes or attributes that are out of range")
    }
}

/// The row of a node's operator.
pub(super) fn find(node: &Node) -> Option<&'static Op> {
    let key = (node.domain.as_str(), node.name.op.as_str());
    OPS.binary_search_by(|op| (op.domain, op.name).cmp(&key)).ok().map(|row| &OPS[row])
}

/// An operator without a row, whose outputs the file declares: work of the vector unit that needs all its inputs.
pub(super) fn unknown(cx: &Context<'_>, outputs: Vec<Fact>) -> Lowered {
    let mut nest = Nest::vector(lanes::MOVE);
    nest.write = outputs.first().map(|fact| nest.axes(&fact.shape, |_| false)).unwrap_or_default();
    nest.reads = (0..cx.input_count()).map(|i| Read { source: Source::Input(i), access: None }).collect();
    Lowered::new(outputs, Form::Nest(nest))
        .warned("is not known; costed as one vector operation for each element of its output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_each_name_once() {
        assert!(OPS.is_sorted_by(|a, b| (a.domain, a.name) < (b.domain, b.name)));
    }

    /// The operators of each domain, as docs/operators.md lists them.
    fn listed() -> String {
        let mut text = String::from("\n| Domain | Operators |\n|---|---|\n");
        for rows in OPS.chunk_by(|a, b| a.domain == b.domain) {
            let domain = if rows[0].domain.is_empty() { "ai.onnx" } else { rows[0].domain };
            let names: Vec<_> = rows.iter().map(|op| op.name).collect();
            let control = if rows[0].domain.is_empty() { "; in place: If, Loop, Scan, SequenceMap" } else { "" };
            text += &format!("| {domain} | {}{control} |\n", names.join(", "));
        }
        text
    }

    /// One test writes both tables, for two would each write back what the other's was.
    #[test]
    fn the_docs_have_the_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operators.md");
        let docs = std::fs::read_to_string(path).unwrap();
        let mut written = docs.clone();
        for (begin, table) in [("<!-- lane operations:", lanes::table()), ("<!-- operators:", listed())] {
            let (head, rest) = written.split_once(begin).unwrap();
            let (said, rest) = rest.split_once("-->\n").unwrap();
            let (_, tail) = rest.split_once("\n<!-- end -->").unwrap();
            written = format!("{head}{begin}{said}-->\n{table}\n<!-- end -->{tail}");
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, written).unwrap();
        } else {
            assert_eq!(docs, written, "run this test with UPDATE_DOCS=1");
        }
    }
}
