//! Constants that shapes depend on: which of them are followed, and how through index maps.

use super::fact::{ElementType, Fact, Known, elements};
use super::payload;
use super::proto::TensorProto;
use crate::ir::Access;

/// Constants with more elements are not followed: no shape has so many dimensions, no index list of a view so many
/// entries.
pub(super) const MOST_INTS: usize = 1 << 14;

/// Floats are followed for the scales and ranges that decide sizes, never as weights.
pub(super) const MOST_FLOATS: usize = 1 << 8;

/// What is known of a tensor in the file; `None` if its shape or type makes no sense.
pub(super) fn fact_of(tensor: &TensorProto) -> Option<Fact> {
    let shape = tensor.dims.iter().map(|&size| u64::try_from(size).ok()).collect::<Option<Vec<_>>>()?;
    let element = ElementType::from_onnx(tensor.data_type.into())?;
    let fact = Fact::constant(shape, element);
    let count = usize::try_from(fact.elements()?).ok()?;
    Some(match element {
        ElementType::Int(_) | ElementType::Bool if count <= MOST_INTS => {
            Fact::ints(fact.shape, element, payload::ints(tensor, count))
        }
        ElementType::Float(_) if count <= MOST_FLOATS => {
            Fact::floats(fact.shape, element, payload::floats(tensor, count))
        }
        ElementType::Int(_)
        | ElementType::Bool
        | ElementType::Float(_)
        | ElementType::NarrowFloat(_)
        | ElementType::Other => fact,
    })
}

/// A value of `shape` whose elements are those of `below` seen through an index map. Known at run time only, unless
/// the elements can be followed.
pub(super) fn seen(map: Option<&Access>, shape: Vec<u64>, below: &Fact) -> Fact {
    let Some(map) = map else { return Fact::at_run_time(shape, below.element) };
    let ints = |ints| through(map, &shape, ints, &below.shape);
    let known = match &below.known {
        Known::Ints(all) => ints(all).map(|ints| Known::Ints(ints.into())),
        Known::Floats(all) => through(map, &shape, all, &below.shape).map(|floats| Known::Floats(floats.into())),
        Known::Narrow(bits) => Some(Known::Narrow(*bits)),
        Known::AtRunTime | Known::Constant | Known::Sequence(_) => None,
    };
    Fact { known: known.unwrap_or(Known::AtRunTime), shape, element: below.element }
}

/// The elements of a value of `shape`, taken from `elements` of a value of shape `below` through an index map. `None`
/// where there are too many, or the map leaves `below`.
pub(super) fn through<T: Copy>(map: &Access, shape: &[u64], all: &[T], below: &[u64]) -> Option<Vec<T>> {
    let count = elements(shape).and_then(|count| usize::try_from(count).ok())?;
    if count > MOST_INTS {
        return None;
    }
    let mut index = vec![0u64; shape.len()];
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        taken.push(*all.get(position(map, &index, below)?)?);
        step(&mut index, shape);
    }
    Some(taken)
}

/// The row-major position in `below` of what the map gives for `index`.
fn position(map: &Access, index: &[u64], below: &[u64]) -> Option<usize> {
    let mut position = 0i64;
    for (affine, &size) in map.0.iter().zip(below) {
        let at = affine.terms.iter().try_fold(affine.offset, |sum, &(dim, stride)| {
            i64::try_from(index[dim.index()]).ok()?.checked_mul(stride)?.checked_add(sum)
        })?;
        let size = i64::try_from(size).ok()?;
        if !(0..size).contains(&at) {
            return None;
        }
        position = position.checked_mul(size)?.checked_add(at)?;
    }
    usize::try_from(position).ok()
}

/// The next index in row-major order.
fn step(index: &mut [u64], shape: &[u64]) {
    for (at, &size) in index.iter_mut().zip(shape).rev() {
        *at += 1;
        if *at < size {
            return;
        }
        *at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::view;
    use super::*;

    #[test]
    fn elements_follow_a_map() {
        let ints = [1, 2, 3, 4, 5, 6];
        let transposed = through(&view::transpose(&[1, 0]), &[3, 2], &ints, &[2, 3]);
        assert_eq!(transposed, Some(vec![1, 4, 2, 5, 3, 6]));
        let broadcast = through(&view::broadcast(&[1], &[2, 2]), &[2, 2], &[7], &[1]);
        assert_eq!(broadcast, Some(vec![7; 4]));
    }

    #[test]
    fn only_what_is_there_is_followed() {
        let here = TensorProto { dims: vec![1], data_type: 7, raw_data: vec![5; 8].into(), ..TensorProto::default() };
        assert_eq!(fact_of(&here).unwrap().as_ints(), Some(&[0x0505_0505_0505_0505][..]));
        let absent = TensorProto { dims: vec![9], data_type: 7, data_location: 1, ..TensorProto::default() };
        assert_eq!(fact_of(&absent).unwrap(), Fact::constant(vec![9], ElementType::Int(64)));
        let negative = TensorProto { dims: vec![-1], data_type: 7, ..TensorProto::default() };
        assert_eq!(fact_of(&negative), None);
    }
}
