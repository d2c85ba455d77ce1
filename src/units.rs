//! Whole-number units: cycles of the NPU's clock, bytes, multiply-accumulates.
//!
//! Only the operators that make sense exist, and each is checked: a sum that does not fit `u64` panics rather than
//! wraps. It cannot happen on what users bring: `ir` and `npu` bound every figure at the door.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};

use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $suffix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);

            /// The number without its unit.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The difference, or zero where `other` is larger.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.checked_add(other.0).expect("a sum of bounded figures fits u64"))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.checked_sub(other.0).expect("what is taken away was there"))
            }
        }

        impl Mul<u64> for $name {
            type Output = Self;
            fn mul(self, times: u64) -> Self {
                Self(self.0.checked_mul(times).expect("a product of bounded figures fits u64"))
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{}", $suffix), self.0)
            }
        }
    };
}

unit! {
    /// Time, in whole cycles of the NPU's clock.
    Cycles, " cycles"
}
unit! {
    /// Size or traffic, in bytes.
    Bytes, " B"
}
unit! {
    /// Work, in multiply-accumulates (two operations each).
    Macs, " MACs"
}

impl Bytes {
    /// The bytes that `elements` of `bits` each take when packed, rounded up to a whole byte.
    pub fn of_elements(elements: u64, bits: u64) -> Self {
        let bytes = (u128::from(elements) * u128::from(bits)).div_ceil(8);
        Self(u64::try_from(bytes).expect("a bounded tensor fits u64"))
    }
}

/// A ratio for people, in millionths, rounded half up. Nothing decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio {
    millionths: u64,
}

impl Ratio {
    /// `part / whole`; `None` where `whole` is zero or the ratio does not fit.
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        let (part, whole) = (u128::from(part), u128::from(whole));
        let millionths = (part * 2_000_000 + whole).checked_div(2 * whole)?;
        u64::try_from(millionths).ok().map(|millionths| Self { millionths })
    }

    /// The ratio in millionths.
    pub const fn millionths(self) -> u64 {
        self.millionths
    }
}

impl fmt::Display for Ratio {
    /// With as many decimals as the precision asks for (6 at most, 3 by default), cut, not rounded again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(3).min(6);
        let step = 10u64.pow(6 - u32::try_from(decimals).expect("at most 6"));
        let shown = (self.millionths + step / 2) / step;
        let unit = 1_000_000 / step;
        match decimals {
            0 => f.pad_integral(true, "", &shown.to_string()),
            _ => f.pad_integral(true, "", &format!("{}.{:0decimals$}", shown / unit, shown % unit)),
        }
    }
}

impl Serialize for Ratio {
    #[expect(clippy::float_arithmetic, reason = "JSON has no other fraction, and nothing decides by it")]
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.millionths as f64 / 1e6)
    }
}

impl<'de> Deserialize<'de> for Ratio {
    #[expect(clippy::float_arithmetic, reason = "JSON has no other fraction, and nothing decides by it")]
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ratio = f64::deserialize(deserializer)?;
        Ok(Self { millionths: (ratio * 1e6).round() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_round_half_up_and_print() {
        assert_eq!(Ratio::of(1, 3).unwrap().millionths(), 333_333);
        assert_eq!(Ratio::of(2, 3).unwrap().millionths(), 666_667);
        assert_eq!(Ratio::of(1, 0), None);
        assert_eq!(format!("{:.2}", Ratio::of(1, 8).unwrap()), "0.13");
        assert_eq!(format!("{:>7.1}", Ratio::of(199, 100).unwrap()), "    2.0");
        assert_eq!(serde_json::to_string(&Ratio::of(485, 1501)).unwrap(), "0.323118");
    }

    #[test]
    fn bytes_round_up() {
        assert_eq!(Bytes::of_elements(3, 4), Bytes(2));
        assert_eq!(Bytes::of_elements(3, 16), Bytes(6));
    }
}
