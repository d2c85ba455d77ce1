//! What is known of a value: shape, element type, and its elements where shapes depend on them.

use std::rc::Rc;

use super::constant;
use super::graph::ValueId;

/// The largest tensor that is believed; `Model::check` has the same bound.
const MOST_ELEMENTS: u64 = 1 << 48;

/// All that is known of one value. Every size is known: dimensions without one are refused at the graph's inputs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fact {
    pub(super) shape: Vec<u64>,
    pub(super) element: ElementType,
    pub(super) known: Known,
}

/// Whether a value is known before the model runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// Computed by the model, or given to it.
    AtRunTime,
    /// A weight, or computed from weights alone: its elements are not looked at.
    Constant,
    /// A weight that is stored in elements of so many bits, fewer than its type has: it is dequantised when it is used.
    Narrow(u64),
    /// A constant of whole numbers, few enough to follow, in row-major order.
    Ints(Rc<[i64]>),
    /// A constant of a few floats, in row-major order: scales that decide a size.
    Floats(Rc<[f64]>),
    /// A sequence, of just these tensors; the shape is how many there are.
    Sequence(Rc<[Item]>),
}

/// A tensor of a sequence: which value it is, and what is known of that.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) value: ValueId,
    pub(super) fact: Fact,
}

/// The type of an element, as far as its width and its kind matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementType {
    /// A float of 16 bits or more: the NPU's precision can take its place.
    Float(u64),
    /// A float that stays as wide as it is: one of 8 bits or fewer, for somebody quantised it, or a scale.
    NarrowFloat(u64),
    /// A whole number.
    Int(u64),
    Bool,
    /// Text or complex numbers: no NPU holds it.
    Other,
}

impl Fact {
    /// A value that the model computes.
    pub(super) fn at_run_time(shape: Vec<u64>, element: ElementType) -> Self {
        Self { shape, element, known: Known::AtRunTime }
    }

    /// A constant whose elements are not looked at.
    pub(super) fn constant(shape: Vec<u64>, element: ElementType) -> Self {
        Self { shape, element, known: Known::Constant }
    }

    /// A constant of whole numbers, as many as the shape has; not followed where they are too many.
    pub(super) fn ints(shape: Vec<u64>, element: ElementType, ints: Option<Vec<i64>>) -> Self {
        let known = match ints {
            Some(ints) if ints.len() <= constant::MOST_INTS => Known::Ints(ints.into()),
            Some(_) | None => Known::Constant,
        };
        Self { shape, element, known }
    }

    /// A constant of floats, as many as the shape has; not followed where they are too many.
    pub(super) fn floats(shape: Vec<u64>, element: ElementType, floats: Option<Vec<f64>>) -> Self {
        let known = match floats {
            Some(floats) if floats.len() <= constant::MOST_FLOATS => Known::Floats(floats.into()),
            Some(_) | None => Known::Constant,
        };
        Self { shape, element, known }
    }

    /// A sequence of tensors.
    pub(super) fn sequence(items: Vec<Item>) -> Self {
        Self { shape: vec![items.len() as u64], element: ElementType::Other, known: Known::Sequence(items.into()) }
    }

    pub(super) fn is_constant(&self) -> bool {
        match &self.known {
            Known::AtRunTime => false,
            Known::Constant | Known::Narrow(_) | Known::Ints(_) | Known::Floats(_) => true,
            Known::Sequence(items) => items.iter().all(|item| item.fact.is_constant()),
        }
    }

    /// Its elements, where they are whole numbers that are known.
    pub(super) fn as_ints(&self) -> Option<&[i64]> {
        match &self.known {
            Known::Ints(ints) => Some(ints),
            Known::AtRunTime | Known::Constant | Known::Narrow(_) | Known::Floats(_) | Known::Sequence(_) => None,
        }
    }

    /// Its elements, where they are floats that are known.
    pub(super) fn as_floats(&self) -> Option<&[f64]> {
        match &self.known {
            Known::Floats(floats) => Some(floats),
            Known::AtRunTime | Known::Constant | Known::Narrow(_) | Known::Ints(_) | Known::Sequence(_) => None,
        }
    }

    /// Its tensors, where it is a sequence.
    pub(super) fn as_sequence(&self) -> Option<&[Item]> {
        match &self.known {
            Known::Sequence(items) => Some(items),
            Known::AtRunTime | Known::Constant | Known::Narrow(_) | Known::Ints(_) | Known::Floats(_) => None,
        }
    }

    /// The width of an element in memory, where wide floats take `float_bits`, if given; `None` of what no NPU holds.
    pub(super) fn bits(&self, float_bits: Option<u64>) -> Option<u64> {
        match self.known {
            Known::Narrow(bits) => Some(bits),
            Known::AtRunTime | Known::Constant | Known::Ints(_) | Known::Floats(_) | Known::Sequence(_) => {
                self.element.bits(float_bits)
            }
        }
    }

    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// How many elements it has, where that is a believable number.
    pub(super) fn elements(&self) -> Option<u64> {
        elements(&self.shape)
    }

    /// A constant of one element: part of an instruction, not read from memory.
    pub(super) fn is_immediate(&self) -> bool {
        self.is_constant() && self.shape.iter().all(|&size| size == 1)
    }
}

/// How many elements a tensor of this shape has; `None` if more than any tensor has.
pub(super) fn elements(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1u64, |all, &size| all.checked_mul(size)).filter(|&all| all <= MOST_ELEMENTS)
}

impl ElementType {
    /// The type of a number in ONNX's `TensorProto.DataType`; `None` where it has none.
    pub(super) fn from_onnx(data_type: i64) -> Option<Self> {
        Some(match data_type {
            1 => Self::Float(32),
            10 | 16 => Self::Float(16),
            11 => Self::Float(64),
            17..=20 | 24 => Self::NarrowFloat(8),
            23 => Self::NarrowFloat(4),
            2 | 3 => Self::Int(8),
            4 | 5 => Self::Int(16),
            6 | 12 => Self::Int(32),
            7 | 13 => Self::Int(64),
            21 | 22 => Self::Int(4),
            25 | 26 => Self::Int(2),
            9 => Self::Bool,
            8 | 14 | 15 => Self::Other,
            _ => return None,
        })
    }

    /// What messages and tests call it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Float(bits) => format!("float{bits}"),
            Self::NarrowFloat(bits) => format!("narrow float{bits}"),
            Self::Int(bits) => format!("int{bits}"),
            Self::Bool => "bool".to_owned(),
            Self::Other => "text or complex".to_owned(),
        }
    }

    /// The width of an element in a tensor, where wide floats take `float_bits`, if given.
    pub(super) fn bits(self, float_bits: Option<u64>) -> Option<u64> {
        match self {
            Self::Float(bits) => Some(float_bits.unwrap_or(bits)),
            Self::NarrowFloat(bits) | Self::Int(bits) => Some(bits),
            Self::Bool => Some(8),
            Self::Other => None,
        }
    }
}
