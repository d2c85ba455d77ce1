//! Constants that shapes depend on: reading them, and following them through index maps.

use super::fact::{ElementType, Fact, Known, elements};
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
            Fact::ints(fact.shape, element, ints_of(tensor).filter(|ints| ints.len() == count))
        }
        ElementType::Float(_) if count <= MOST_FLOATS => {
            Fact::floats(fact.shape, element, floats_of(tensor).filter(|floats| floats.len() == count))
        }
        ElementType::Int(_)
        | ElementType::Bool
        | ElementType::Float(_)
        | ElementType::NarrowFloat(_)
        | ElementType::Other => fact,
    })
}

/// The elements of a tensor that is in the file, whichever field holds them.
fn ints_of(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_location != 0 {
        return None;
    }
    let raw = &tensor.raw_data[..];
    let typed = || tensor.int32_data.iter().map(|&int| i64::from(int)).collect::<Vec<_>>();
    match tensor.data_type {
        7 if raw.is_empty() => Some(tensor.int64_data.clone()),
        7 => Some(raw.as_chunks().0.iter().map(|&word| i64::from_le_bytes(word)).collect()),
        6 if !raw.is_empty() => Some(raw.as_chunks().0.iter().map(|&word| i32::from_le_bytes(word).into()).collect()),
        2 | 9 if !raw.is_empty() => Some(raw.iter().map(|&byte| byte.into()).collect()),
        3 if !raw.is_empty() => Some(raw.iter().map(|&byte| i64::from(byte.cast_signed())).collect()),
        4 if !raw.is_empty() => Some(raw.as_chunks().0.iter().map(|&word| u16::from_le_bytes(word).into()).collect()),
        5 if !raw.is_empty() => Some(raw.as_chunks().0.iter().map(|&word| i16::from_le_bytes(word).into()).collect()),
        12 if !raw.is_empty() => Some(raw.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word).into()).collect()),
        2..=6 | 9 => Some(typed()),
        _ => None,
    }
}

/// The elements of a tensor of floats that is in the file.
fn floats_of(tensor: &TensorProto) -> Option<Vec<f64>> {
    if tensor.data_location != 0 {
        return None;
    }
    let raw = &tensor.raw_data[..];
    match tensor.data_type {
        1 if raw.is_empty() => Some(tensor.float_data.iter().map(|&float| float.into()).collect()),
        1 => Some(raw.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word).into()).collect()),
        10 | 16 => {
            let typed = || tensor.int32_data.iter().map(|&word| word as u16).collect();
            let in_raw = || raw.as_chunks().0.iter().map(|&word| u16::from_le_bytes(word)).collect();
            let words: Vec<u16> = if raw.is_empty() { typed() } else { in_raw() };
            let widened = if tensor.data_type == 10 { half } else { brain };
            Some(words.into_iter().map(widened).collect())
        }
        11 if raw.is_empty() => Some(tensor.double_data.clone()),
        11 => Some(raw.as_chunks().0.iter().map(|&word| f64::from_le_bytes(word)).collect()),
        _ => None,
    }
}

/// A half: 5 bits of exponent, 10 of fraction.
#[expect(clippy::float_arithmetic, reason = "a product with a power of two, which is exact")]
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (u64::from(bits >> 10 & 0x1f), u64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction as f64 / f64::from(1 << 24),
        31 => f64::from_bits(0x7ff << 52 | fraction << 42),
        _ => f64::from_bits((exponent + 1023 - 15) << 52 | fraction << 42),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}

/// The upper half of a float of 32 bits.
fn brain(bits: u16) -> f64 {
    f32::from_bits(u32::from(bits) << 16).into()
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
    fn whole_numbers_are_read_from_every_field() {
        let typed = TensorProto { dims: vec![2], data_type: 7, int64_data: vec![3, -1], ..TensorProto::default() };
        assert_eq!(fact_of(&typed).unwrap().as_ints(), Some(&[3, -1][..]));
        let raw =
            TensorProto { dims: vec![1], data_type: 6, raw_data: vec![5, 0, 0, 0].into(), ..TensorProto::default() };
        assert_eq!(fact_of(&raw).unwrap().as_ints(), Some(&[5][..]));
        let absent = TensorProto { dims: vec![9], data_type: 7, data_location: 1, ..TensorProto::default() };
        assert_eq!(fact_of(&absent).unwrap(), Fact::constant(vec![9], ElementType::Int(64)));
        let negative = TensorProto { dims: vec![-1], data_type: 7, ..TensorProto::default() };
        assert_eq!(fact_of(&negative), None);
    }
}
