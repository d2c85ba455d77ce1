//! Constants of whole numbers: reading them, and the arithmetic that exporters do with shapes.

use super::fact::{ElementType, Fact};
use super::proto::TensorProto;
use crate::ir::Access;

/// Constants with more elements are not followed: no shape has so many dimensions, no index list of a view so many
/// entries.
pub(super) const MOST_INTS: usize = 1 << 14;

/// What is known of a tensor in the file; `None` if its shape or type makes no sense.
pub(super) fn fact_of(tensor: &TensorProto) -> Option<Fact> {
    let shape = tensor.dims.iter().map(|&size| u64::try_from(size).ok()).collect::<Option<Vec<_>>>()?;
    let element = ElementType::from_onnx(tensor.data_type.into())?;
    let fact = Fact::constant(shape, element);
    let count = usize::try_from(fact.elements()?).ok()?;
    let ints = match element {
        ElementType::Int(_) | ElementType::Bool if count <= MOST_INTS => ints_of(tensor),
        ElementType::Int(_)
        | ElementType::Bool
        | ElementType::Float(_)
        | ElementType::NarrowFloat(_)
        | ElementType::Other => None,
    };
    Some(Fact::ints(fact.shape, element, ints.filter(|ints| ints.len() == count)))
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
        2 | 3 | 6 | 9 => Some(typed()),
        _ => None,
    }
}

/// One element of a pointwise operator on whole numbers; `None` where the result is not one, or is not followed.
pub(super) fn pointwise(op: &str, arguments: &[i64]) -> Option<i64> {
    match (op, arguments) {
        ("Add", &[a, b]) => a.checked_add(b),
        ("Sub", &[a, b]) => a.checked_sub(b),
        ("Mul", &[a, b]) => a.checked_mul(b),
        ("Div", &[a, b]) => a.checked_div(b),
        ("Mod", &[a, b]) => {
            a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        ("Min", _) => arguments.iter().copied().min(),
        ("Max", _) => arguments.iter().copied().max(),
        ("Neg", &[a]) => a.checked_neg(),
        ("Abs", &[a]) => a.checked_abs(),
        ("Not", &[a]) => Some(i64::from(a == 0)),
        ("And", &[a, b]) => Some(i64::from(a != 0 && b != 0)),
        ("Or", &[a, b]) => Some(i64::from(a != 0 || b != 0)),
        ("Equal", &[a, b]) => Some(i64::from(a == b)),
        ("Less", &[a, b]) => Some(i64::from(a < b)),
        ("LessOrEqual", &[a, b]) => Some(i64::from(a <= b)),
        ("Greater", &[a, b]) => Some(i64::from(a > b)),
        ("GreaterOrEqual", &[a, b]) => Some(i64::from(a >= b)),
        ("Where", &[condition, then, otherwise]) => Some(if condition != 0 { then } else { otherwise }),
        ("Cast", &[a]) => Some(a),
        _ => None,
    }
}

/// The elements of a value of `shape`, taken from `elements` of a value of shape `below` through an index map. `None`
/// where there are too many, or the map leaves `below`.
pub(super) fn through(map: &Access, shape: &[u64], elements: &[i64], below: &[u64]) -> Option<Vec<i64>> {
    let count = super::fact::elements(shape).and_then(|count| usize::try_from(count).ok())?;
    if count > MOST_INTS {
        return None;
    }
    let mut index = vec![0u64; shape.len()];
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        taken.push(*elements.get(position(map, &index, below)?)?);
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
    fn division_by_zero_and_overflow_are_unknown() {
        assert_eq!(pointwise("Div", &[1, 0]), None);
        assert_eq!(pointwise("Mul", &[i64::MAX, 2]), None);
        assert_eq!(pointwise("Mod", &[-7, 3]), Some(2));
        assert_eq!(pointwise("Where", &[0, 1, 2]), Some(2));
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
