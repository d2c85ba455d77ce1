//! The arithmetic that exporters do with shapes, on whole numbers and on the floats that scale them.

use super::fact::{ElementType, Fact, Known};

/// An element of a constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    /// The whole number that is left when it is cut off; `None` where it is out of range.
    pub(super) fn whole(self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(int),
            Self::Float(float) => (float.abs() < 9e15).then_some(float as i64),
        }
    }

    /// The number, where both kinds of floats of 16 bits have it: 8 binary digits, a power of two in the range of both.
    fn in_any_half(self) -> Option<f64> {
        let float = match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        };
        let is_short = float.to_bits() & ((1 << 45) - 1) == 0;
        let is_near = float == 0.0 || (6.2e-5..65504.0).contains(&float.abs());
        (is_short && is_near).then_some(float)
    }

    /// The nearest number that the type has; `None` where the element is out of its range.
    pub(super) fn narrowed(self, to: ElementType) -> Option<Self> {
        Some(match (to, self) {
            (ElementType::Bool, Self::Int(int)) => Self::Int((int != 0).into()),
            (ElementType::Bool, Self::Float(float)) => Self::Int((float != 0.0).into()),
            (ElementType::Int(_), number) => Self::Int(number.whole()?),
            (ElementType::Float(64), Self::Float(float)) => Self::Float(float),
            (ElementType::Float(64), Self::Int(int)) => Self::Float(int as f64),
            (ElementType::Float(32), Self::Float(float)) => Self::Float((float as f32).into()),
            (ElementType::Float(32), Self::Int(int)) => Self::Float((int as f32).into()),
            (ElementType::Float(16), number) => Self::Float(number.in_any_half()?),
            (ElementType::Float(_) | ElementType::NarrowFloat(_) | ElementType::Other, _) => {
                return None;
            }
        })
    }
}

/// An element of a constant that is followed.
pub(super) fn element(fact: &Fact, index: usize) -> Option<Number> {
    match &fact.known {
        Known::Ints(ints) => ints.get(index).copied().map(Number::Int),
        Known::Floats(floats) => floats.get(index).copied().map(Number::Float),
        Known::AtRunTime | Known::Constant | Known::Narrow(_) | Known::Sequence(_) => None,
    }
}

/// What is known of elements that are these numbers, each of which the type has.
pub(super) fn known(
    numbers: impl Iterator<Item = Option<Number>>,
    shape: &[u64],
    element: ElementType,
) -> Option<Known> {
    let (mut ints, mut floats) = (Vec::new(), Vec::new());
    for number in numbers {
        match number? {
            Number::Int(int) => ints.push(int),
            Number::Float(float) => floats.push(float),
        }
    }
    let fact = match element {
        ElementType::Int(_) | ElementType::Bool => Fact::ints(shape.to_vec(), element, Some(ints)),
        ElementType::Float(_) => Fact::floats(shape.to_vec(), element, Some(floats)),
        ElementType::NarrowFloat(_) | ElementType::Other => return None,
    };
    Some(fact.known)
}

/// One element of a pointwise operator; `None` where the result is not a number, or is not followed.
pub(super) fn pointwise(op: &str, arguments: &[Number]) -> Option<Number> {
    let is_int = |argument: &Number| match argument {
        Number::Int(_) => true,
        Number::Float(_) => false,
    };
    match (op, arguments) {
        ("Where", &[Number::Int(condition), then, otherwise]) => {
            return Some(if condition != 0 { then } else { otherwise });
        }
        ("Cast" | "CastLike" | "Identity", &[same]) => return Some(same),
        _ => {}
    }
    if arguments.iter().all(is_int) {
        let int = |argument: &Number| match *argument {
            Number::Int(int) => int,
            Number::Float(_) => 0,
        };
        ints(op, &arguments.iter().map(int).collect::<Vec<_>>()).map(Number::Int)
    } else {
        let float = |argument: &Number| match *argument {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        };
        floats(op, &arguments.iter().map(float).collect::<Vec<_>>())
    }
}

fn ints(op: &str, arguments: &[i64]) -> Option<i64> {
    match (op, arguments) {
        ("Add" | "Sum", _) => arguments.iter().try_fold(0i64, |sum, &int| sum.checked_add(int)),
        ("Sub", &[a, b]) => a.checked_sub(b),
        ("Mul", &[a, b]) => a.checked_mul(b),
        ("Div", &[a, b]) => a.checked_div(b),
        ("Mod", &[a, b]) => {
            a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        ("Pow", &[a, b]) => a.checked_pow(u32::try_from(b).ok()?),
        ("Min", _) => arguments.iter().copied().min(),
        ("Max", _) => arguments.iter().copied().max(),
        ("Neg", &[a]) => a.checked_neg(),
        ("Abs", &[a]) => a.checked_abs(),
        ("Relu", &[a]) => Some(a.max(0)),
        ("Sign", &[a]) => Some(a.signum()),
        ("Not", &[a]) => Some(i64::from(a == 0)),
        ("And", &[a, b]) => Some(i64::from(a != 0 && b != 0)),
        ("Or", &[a, b]) => Some(i64::from(a != 0 || b != 0)),
        ("Xor", &[a, b]) => Some(i64::from((a != 0) != (b != 0))),
        ("Equal", &[a, b]) => Some(i64::from(a == b)),
        ("Less", &[a, b]) => Some(i64::from(a < b)),
        ("LessOrEqual", &[a, b]) => Some(i64::from(a <= b)),
        ("Greater", &[a, b]) => Some(i64::from(a > b)),
        ("GreaterOrEqual", &[a, b]) => Some(i64::from(a >= b)),
        _ => None,
    }
}

#[expect(clippy::float_arithmetic, reason = "the model's own arithmetic, which IEEE 754 says to the last bit")]
fn floats(op: &str, arguments: &[f64]) -> Option<Number> {
    let truth = |is_so: bool| Number::Int(is_so.into());
    let number = match (op, arguments) {
        ("Add", &[a, b]) => Number::Float(a + b),
        ("Sub", &[a, b]) => Number::Float(a - b),
        ("Mul", &[a, b]) => Number::Float(a * b),
        ("Div", &[a, b]) => Number::Float(a / b),
        ("Min", &[a, b]) => Number::Float(a.min(b)),
        ("Max", &[a, b]) => Number::Float(a.max(b)),
        ("Neg", &[a]) => Number::Float(-a),
        ("Reciprocal", &[a]) => Number::Float(1.0 / a),
        ("Abs", &[a]) => Number::Float(a.abs()),
        ("Relu", &[a]) => Number::Float(a.max(0.0)),
        ("Ceil", &[a]) => Number::Float(a.ceil()),
        ("Floor", &[a]) => Number::Float(a.floor()),
        ("Round", &[a]) => Number::Float(a.round_ties_even()),
        ("Sqrt", &[a]) => Number::Float(a.sqrt()),
        ("Equal", &[a, b]) => truth(a == b),
        ("Less", &[a, b]) => truth(a < b),
        ("LessOrEqual", &[a, b]) => truth(a <= b),
        ("Greater", &[a, b]) => truth(a > b),
        ("GreaterOrEqual", &[a, b]) => truth(a >= b),
        _ => return None,
    };
    match number {
        Number::Float(float) if !float.is_finite() => None,
        Number::Int(_) | Number::Float(_) => Some(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ints(op: &str, ints: &[i64]) -> Option<Number> {
        pointwise(op, &ints.iter().map(|&int| Number::Int(int)).collect::<Vec<_>>())
    }

    #[test]
    fn division_by_zero_and_overflow_are_unknown() {
        assert_eq!(of_ints("Div", &[1, 0]), None);
        assert_eq!(of_ints("Mul", &[i64::MAX, 2]), None);
        assert_eq!(of_ints("Mod", &[-7, 3]), Some(Number::Int(2)));
        assert_eq!(of_ints("Where", &[0, 1, 2]), Some(Number::Int(2)));
        assert_eq!(pointwise("Div", &[Number::Float(1.0), Number::Float(0.0)]), None);
    }

    #[test]
    fn a_scaled_size_is_rounded_as_the_model_rounds_it() {
        let third = Number::Float(1.0 / 3.0).narrowed(ElementType::Float(32)).unwrap();
        let scaled = pointwise("Mul", &[Number::Float(9.0), third]).unwrap();
        assert_eq!(scaled.narrowed(ElementType::Float(32)), Some(Number::Float(3.0)));
        assert_eq!(Number::Float(2.7).narrowed(ElementType::Int(64)), Some(Number::Int(2)));
    }
}
