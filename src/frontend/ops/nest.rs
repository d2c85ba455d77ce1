//! Loop nests as operators state them, over their node's own inputs and output.

use crate::frontend::view::{self, combine, compose};
use crate::ir::{self, Access, Affine, Dim, DimId, Role};

/// A loop nest that makes a node's first output.
#[derive(Clone, Debug)]
pub(in super::super) struct Nest {
    pub(in super::super) op: ir::Op,
    pub(in super::super) dims: Vec<Dim>,
    pub(in super::super) lanes: u64,
    pub(in super::super) reads: Vec<Read>,
    /// Of a product whose weights can take up a scale for each channel: the input that is its bias.
    pub(in super::super) bias: Option<usize>,
    /// The element of the output that an iteration writes.
    pub(in super::super) write: Access,
}

/// What a loop nest reads.
#[derive(Clone, Debug)]
pub(in super::super) struct Read {
    pub(in super::super) source: Source,
    /// `None`: all of it, whatever the iteration.
    pub(in super::super) access: Option<Access>,
}

/// Where a loop nest reads.
#[derive(Clone, Debug)]
pub(in super::super) enum Source {
    /// An input of the node.
    Input(usize),
    /// Those rows of a table that the model picks when it runs: a tensor of this shape stands for them.
    Rows {
        /// The table, an input of the node.
        table: usize,
        /// The rows that are picked.
        shape: Vec<u64>,
    },
}

/// The input of the node that a source is, or is rows of.
pub(in super::super) fn input_of(source: &Source) -> usize {
    match source {
        Source::Input(input) => *input,
        Source::Rows { table, shape: _ } => *table,
    }
}

impl Nest {
    /// A matrix product.
    pub(super) fn product() -> Self {
        Self { op: ir::Op::Gemm, dims: Vec::new(), lanes: 0, reads: Vec::new(), bias: None, write: Access::default() }
    }

    /// Work of the vector unit, with this many lane operations for each iteration.
    pub(in super::super) fn vector(lanes: u64) -> Self {
        Self { op: ir::Op::Vector, lanes, ..Self::product() }
    }

    /// A dimension, as an index. One of size 1 has only one index and no need of a loop.
    pub(super) fn dim(&mut self, name: &str, size: u64, role: Role) -> Affine {
        if size == 1 { Affine::constant(0) } else { self.kept(name, size, role) }
    }

    /// A dimension that is kept though it may have size 1.
    pub(super) fn kept(&mut self, name: &str, size: u64, role: Role) -> Affine {
        self.dims.push(Dim { name: name.to_owned(), size, role });
        Affine::dim(DimId::from(self.dims.len() - 1))
    }

    /// A dimension for each of a shape, as an access of a tensor of that shape. Those that are reduced have role `k`.
    pub(in super::super) fn axes(&mut self, shape: &[u64], is_reduced: impl Fn(usize) -> bool) -> Access {
        let names = axis_names(shape.len());
        let dims = shape.iter().zip(&names).enumerate();
        Access(
            dims.map(|(i, (&size, name))| self.dim(name, size, if is_reduced(i) { Role::K } else { Role::M }))
                .collect(),
        )
    }

    /// The same nest with a dimension cut into whole blocks: it counts them, and another dimension their elements. `None`
    /// where strides would be out of range.
    pub(in super::super) fn cut(&self, dim: DimId, block: u64) -> Option<Self> {
        let (blocks, within) = (Affine::dim(dim), Affine::dim(DimId::from(self.dims.len())));
        let mut map = view::identity(self.dims.len());
        *map.0.get_mut(dim.index())? = combine(0, [(&blocks, i64::try_from(block).ok()?), (&within, 1)]).ok()?;
        let mut cut = self.clone();
        for access in cut.reads.iter_mut().filter_map(|read| read.access.as_mut()).chain([&mut cut.write]) {
            *access = compose(access, &map).ok()?;
        }
        let whole = cut.dims.get_mut(dim.index())?;
        let inner = Dim { size: block, ..whole.clone() };
        *whole = Dim { name: "block".to_owned(), size: whole.size / block, role: whole.role };
        cut.dims.push(inner);
        Some(cut)
    }

    /// Reads an input of the node.
    pub(super) fn read(&mut self, input: usize, access: Access) {
        self.reads.push(Read { source: Source::Input(input), access: Some(access) });
    }
}

/// What the dimensions of a tensor are called, where only its rank tells.
fn axis_names(rank: usize) -> Vec<String> {
    let known: &[&str] = match rank {
        1 => &["n"],
        2 => &["m", "n"],
        3 => &["batch", "m", "n"],
        4 => &["batch", "c", "h", "w"],
        5 => &["batch", "c", "d", "h", "w"],
        _ => return (0..rank).map(|i| format!("d{i}")).collect(),
    };
    known.iter().map(|&name| name.to_owned()).collect()
}
