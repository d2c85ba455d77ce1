//! Reshapes that merge dimensions, seen by a loop nest: an index that is one loop becomes several, one for each dimension
//! before the merge. So keys that heads share, windows and shuffled channels are read where they are.

use super::Emitter;
use crate::frontend::graph::{NodeId, ValueId};
use crate::frontend::ops::{self, Nest};
use crate::frontend::view::{combine, compose};
use crate::ir::{Access, Affine, DimId, Operand, Role};

/// No more views than these are followed.
const MOST_VIEWS: usize = 32;

/// What a loop nest reads in the place of an input of its node.
pub(super) struct Seen {
    pub(super) value: ValueId,
    /// The views between.
    pub(super) nodes: Vec<NodeId>,
}

impl Emitter<'_> {
    /// Cuts the loops of a nest until what it reads are places, where those of its inputs are none: for each of its
    /// reads, what it reads instead, if anything.
    pub(super) fn see_through(&self, node: NodeId, nest: &mut Nest) -> Vec<Option<Seen>> {
        let mut all = Vec::with_capacity(nest.reads.len());
        for read in 0..nest.reads.len() {
            let found = self.before_views(node, nest, read);
            let (cut, seen) = found.map_or((None, None), |(cut, seen)| (Some(cut), Some(seen)));
            if let Some(cut) = cut {
                *nest = cut;
            }
            all.push(seen);
        }
        all
    }

    /// A nest that reads what an input of its node is a view of, if that is not seen in any tensor yet.
    fn before_views(&self, node: NodeId, nest: &Nest, read: usize) -> Option<(Nest, Seen)> {
        let ops::Source::Input(input) = nest.reads[read].source else { return None };
        let (mut value, fact) = self.typed.input(node, input)?;
        let mut cut = nest.clone();
        let mut nodes = Vec::new();
        while !fact.is_constant() && self.places[value].is_none() && nodes.len() < MOST_VIEWS {
            let Some((maker, view)) = self.view_of(value) else { break };
            let (below, from) = self.typed.input(maker, 0)?;
            match &view.read {
                Some(map) => cut.reads[read].access = Some(compose(map, cut.reads[read].access.as_ref()?).ok()?),
                None => before_reshape(&mut cut, read, &from.shape, &self.typed.facts[value].shape)?,
            }
            nodes.push(maker);
            value = below;
        }
        (!nodes.is_empty() && self.flats[value].is_none()).then_some((cut, Seen { value, nodes }))
    }
}

/// A group that only one operand of a product has is no group: of the first it is rows, of the second columns.
pub(super) fn regroup(nest: &mut Nest, reads: &[Operand]) {
    let [Operand { access: Some(first), .. }, Operand { access: Some(second), .. }, ..] = reads else { return };
    let is_moved = |access: &Access, dim: usize| access.0.iter().any(|index| index.is_moved_by(DimId::from(dim)));
    for (i, dim) in nest.dims.iter_mut().enumerate().filter(|(_, dim)| dim.role == Role::Group) {
        dim.role = match (is_moved(first, i), is_moved(second, i)) {
            (true, false) => Role::M,
            (false, true) => Role::N,
            (_, _) => Role::Group,
        };
    }
}

/// Lets a nest read what a reshape is of, in place of what it makes.
fn before_reshape(nest: &mut Nest, read: usize, from: &[u64], to: &[u64]) -> Option<()> {
    let mut index = vec![Affine::constant(0); from.len()];
    let mut above = (0..to.len()).rev().filter(|&dim| to[dim] != 1);
    // What is left of a dimension that is merged of several: loops and their sizes, the fastest last.
    let mut left: Vec<(DimId, u64)> = Vec::new();
    for below in (0..from.len()).rev().filter(|&dim| from[dim] != 1) {
        let mut done = 1u64;
        while done < from[below] {
            from[below].is_multiple_of(done).then_some(())?;
            let part = match left.last() {
                Some(&(dim, size)) => {
                    let needed = from[below] / done;
                    left.pop();
                    if size > needed {
                        *nest = Some(needed)
                            .filter(|&needed| size.is_multiple_of(needed))
                            .and_then(|n| nest.cut(dim, n))?;
                        left.push((dim, size / needed));
                        (Affine::dim(DimId::from(nest.dims.len() - 1)), needed)
                    } else {
                        (Affine::dim(dim), size)
                    }
                }
                None => {
                    let dim = above.next()?;
                    if to[dim] > from[below] / done {
                        left = digits(nest, read, dim, to[dim])?;
                        continue;
                    }
                    (nest.reads[read].access.as_ref()?.0[dim].clone(), to[dim])
                }
            };
            let stride = i64::try_from(done).ok()?;
            index[below] = combine(0, [(&index[below], 1), (&part.0, stride)]).ok()?;
            done = done.checked_mul(part.1)?;
        }
        (done == from[below]).then_some(())?;
    }
    nest.reads[read].access = Some(Access(index));
    (left.is_empty() && above.next().is_none()).then_some(())
}

/// The loops that an index of a read counts by, the fastest last, if each of its values is one of theirs and no other index
/// of the read is moved by one.
fn digits(nest: &Nest, read: usize, dim: usize, size: u64) -> Option<Vec<(DimId, u64)>> {
    let access = nest.reads[read].access.as_ref()?;
    let mut terms = access.0[dim].terms.clone();
    terms.sort_by_key(|&(_, stride)| stride);
    let (mut loops, mut all) = (Vec::new(), 1u64);
    for (of, stride) in terms {
        let is_alone = access.0.iter().filter(|index| index.is_moved_by(of)).count() == 1;
        let count = nest.dims.get(of.index())?.size;
        (is_alone && u64::try_from(stride) == Ok(all)).then_some(())?;
        loops.push((of, count));
        all = all.checked_mul(count)?;
    }
    loops.reverse();
    (access.0[dim].offset == 0 && all == size).then_some(loops)
}
