//! Elements of tensors in the file, whichever field holds them; of as many as are asked for, and no others.

use bytes::Bytes;
use prost::encoding::decode_varint;

use super::proto::TensorProto;

/// Whole numbers, if the tensor is in the file and has just so many.
pub(super) fn ints(tensor: &TensorProto, count: usize) -> Option<Vec<i64>> {
    let raw = &tensor.raw_data[..];
    let known = |int: u64| i64::try_from(int).ok();
    let typed = |field: &[Bytes]| exactly(count, varints(field).map(|int| int.map(u64::cast_signed)));
    match (tensor.data_type, !raw.is_empty()) {
        _ if tensor.data_location != 0 => None,
        (2 | 9, true) => exactly(count, words(raw, u8::from_le_bytes).map(|int| Some(int.into()))),
        (3, true) => exactly(count, words(raw, i8::from_le_bytes).map(|int| Some(int.into()))),
        (4, true) => exactly(count, words(raw, u16::from_le_bytes).map(|int| Some(int.into()))),
        (5, true) => exactly(count, words(raw, i16::from_le_bytes).map(|int| Some(int.into()))),
        (6, true) => exactly(count, words(raw, i32::from_le_bytes).map(|int| Some(int.into()))),
        (7, true) => exactly(count, words(raw, i64::from_le_bytes).map(Some)),
        (12, true) => exactly(count, words(raw, u32::from_le_bytes).map(|int| Some(int.into()))),
        (13, true) => exactly(count, words(raw, u64::from_le_bytes).map(known)),
        (2..=6 | 9, false) => typed(&tensor.int32_data),
        (7, false) => typed(&tensor.int64_data),
        (12 | 13, false) => exactly(count, varints(&tensor.uint64_data).map(|int| known(int?))),
        _ => None,
    }
}

/// Floats, if the tensor is in the file and has just so many.
pub(super) fn floats(tensor: &TensorProto, count: usize) -> Option<Vec<f64>> {
    let raw = &tensor.raw_data[..];
    let widened = if tensor.data_type == 10 { half } else { brain };
    match (tensor.data_type, !raw.is_empty()) {
        _ if tensor.data_location != 0 => None,
        (1, true) => exactly(count, words(raw, f32::from_le_bytes).map(|float| Some(float.into()))),
        (1, false) => exactly(count, parts(&tensor.float_data, f32::from_le_bytes).map(|float| Some(float.into()))),
        (10 | 16, true) => exactly(count, words(raw, u16::from_le_bytes).map(|bits| Some(widened(bits)))),
        (10 | 16, false) => {
            exactly(count, varints(&tensor.int32_data).map(|bits| bits.map(|bits| widened(bits as u16))))
        }
        (11, true) => exactly(count, words(raw, f64::from_le_bytes).map(Some)),
        (11, false) => exactly(count, parts(&tensor.double_data, f64::from_le_bytes).map(Some)),
        _ => None,
    }
}

/// All elements, if they are `count` that make sense.
fn exactly<T>(count: usize, elements: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let found: Vec<T> = elements.take(count.saturating_add(1)).collect::<Option<_>>()?;
    (found.len() == count).then_some(found)
}

/// Elements of a fixed width; one that is cut off is none.
fn words<const N: usize, T>(bytes: &[u8], decode: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks().0.iter().map(move |&word| decode(word))
}

/// The same in the parts of a packed field.
fn parts<const N: usize, T>(field: &[Bytes], decode: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    field.iter().flat_map(move |part| words(part, decode))
}

/// Whole numbers as protobuf packs them; the last is `None` where the field ends within it.
fn varints(field: &[Bytes]) -> impl Iterator<Item = Option<u64>> {
    field.iter().flat_map(|part| {
        let mut rest = &part[..];
        std::iter::from_fn(move || (!rest.is_empty()).then(|| decode_varint(&mut rest).ok()))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<Bytes> {
        vec![Bytes::copy_from_slice(bytes)]
    }

    fn of(data_type: i32) -> TensorProto {
        TensorProto { data_type, ..TensorProto::default() }
    }

    /// 300 is `ac 02` as a varint; −1 has ten bytes, the last of them 1.
    #[test]
    fn typed_whole_numbers_are_varints_in_parts() {
        let minus_one = [&[0xff; 9][..], &[1]].concat();
        let int64_data = [packed(&[0xac, 2, 3]), packed(&minus_one)].concat();
        let tensor = TensorProto { int64_data, ..of(7) };
        assert_eq!(ints(&tensor, 3), Some(vec![300, 3, -1]));
        assert_eq!(ints(&tensor, 2), None, "it has more");
        assert_eq!(ints(&tensor, 4), None, "it has fewer");
        let cut_off = TensorProto { int64_data: packed(&[3, 0xac]), ..of(7) };
        assert_eq!(ints(&cut_off, 2), None);
        let unsigned = TensorProto { uint64_data: packed(&[7]), ..of(12) };
        assert_eq!(ints(&unsigned, 1), Some(vec![7]));
        let beyond = TensorProto { uint64_data: packed(&minus_one), ..of(13) };
        assert_eq!(ints(&beyond, 1), None);
    }

    #[test]
    fn raw_elements_have_the_width_of_their_type() {
        for (data_type, width) in [(2, 1), (3, 1), (4, 2), (5, 2), (6, 4), (7, 8), (9, 1), (12, 4), (13, 8)] {
            let raw_data = vec![1u8, 0, 0, 0, 0, 0, 0, 0].into();
            let tensor = TensorProto { raw_data, ..of(data_type) };
            let mut expected = vec![0; 8 / width];
            expected[0] = 1;
            assert_eq!(ints(&tensor, 8 / width), Some(expected), "type {data_type}");
        }
        let negative = TensorProto { raw_data: vec![0xfe].into(), ..of(3) };
        assert_eq!(ints(&negative, 1), Some(vec![-2]));
    }

    /// 1.5 in each format: sign 0, the exponent's bias, a fraction of one half.
    #[test]
    fn floats_of_every_width() {
        let raw =
            |data_type: i32, bytes: &[u8]| TensorProto { raw_data: Bytes::copy_from_slice(bytes), ..of(data_type) };
        for tensor in [
            raw(1, &1.5f32.to_le_bytes()),
            raw(11, &1.5f64.to_le_bytes()),
            raw(10, &0x3e00u16.to_le_bytes()),
            raw(16, &0x3fc0u16.to_le_bytes()),
            TensorProto { float_data: packed(&1.5f32.to_le_bytes()), ..of(1) },
            TensorProto { double_data: packed(&1.5f64.to_le_bytes()), ..of(11) },
            // 0x3e00 and 0x3fc0 as varints.
            TensorProto { int32_data: packed(&[0x80, 0x7c]), ..of(10) },
            TensorProto { int32_data: packed(&[0xc0, 0x7f]), ..of(16) },
        ] {
            assert_eq!(floats(&tensor, 1), Some(vec![1.5]), "{tensor:?}");
        }
    }
}
