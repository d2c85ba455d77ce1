//! Arithmetic that exporters write in the names of dimensions: `past_sequence_length + 1`, `2*batch`,
//! `floor(height/2 - 1/2) + 1`.
//!
//! It is what SymPy prints, which PyTorch and ONNX Runtime use: sums have spaces around their signs, `/` is exact and
//! `//` rounds down. So `max-len` and `b/n` are names. All is computed exactly, in fractions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Longer texts are names: what is parsed is as deep as it is long at most.
const LONGEST: usize = 256;

/// A parsed name of a dimension.
#[derive(Debug, PartialEq)]
pub(super) enum Expression {
    Number(i128),
    Name(String),
    Apply(Operation, Vec<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Floor,
    Ceiling,
    Greatest,
    Least,
}

impl Expression {
    /// What a dimension's name says: arithmetic over names, or itself.
    pub(super) fn of(name: &str) -> Self {
        Self::parse(name).unwrap_or_else(|| Self::Name(name.to_owned()))
    }

    /// What a text says, where all of it is arithmetic.
    fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text.trim() };
        let parsed = if text.len() <= LONGEST { parser.sum()? } else { return None };
        parser.rest.is_empty().then_some(parsed)
    }

    /// The names in it, from left to right.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Name(name) => vec![name],
            Self::Apply(_, arguments) => arguments.iter().flat_map(Self::names).collect(),
        }
    }

    /// Its size, where it is one: a whole number of at least 0.
    pub(super) fn size(&self, sizes: &BTreeMap<String, u64>) -> Option<u64> {
        let Fraction { over, under } = self.value(sizes)?;
        (under == 1).then(|| u64::try_from(over).ok()).flatten()
    }

    fn value(&self, sizes: &BTreeMap<String, u64>) -> Option<Fraction> {
        match self {
            Self::Number(number) => Some(Fraction { over: *number, under: 1 }),
            Self::Name(name) => Some(Fraction { over: (*sizes.get(name)?).into(), under: 1 }),
            Self::Apply(operation, arguments) => {
                let mut values = arguments.iter().map(|argument| argument.value(sizes));
                let first = values.next()??;
                match operation {
                    Operation::Floor => Some(first.floor()),
                    Operation::Ceiling => first.ceiling(),
                    _ => values.try_fold(first, |value, next| value.combine(*operation, next?)),
                }
            }
        }
    }
}

/// In lowest terms, with `under` above 0.
#[derive(Clone, Copy, PartialEq)]
struct Fraction {
    over: i128,
    under: i128,
}

impl Fraction {
    fn new(over: i128, under: i128) -> Option<Self> {
        if under == 0 {
            return None;
        }
        let (mut a, mut b) = (over, under);
        while b != 0 {
            (a, b) = (b, a.checked_rem(b)?);
        }
        // The divisor takes the sign of what is below.
        let divisor = if (a < 0) == (under < 0) { a } else { a.checked_neg()? };
        Some(Self { over: over.checked_div(divisor)?, under: under.checked_div(divisor)? })
    }

    fn floor(self) -> Self {
        Self { over: self.over.div_euclid(self.under), under: 1 }
    }

    fn ceiling(self) -> Option<Self> {
        let below = Self { over: self.over.checked_neg()?, ..self }.floor();
        Some(Self { over: below.over.checked_neg()?, under: 1 })
    }

    fn combine(self, operation: Operation, other: Self) -> Option<Self> {
        let across = |a: i128, b: i128| a.checked_mul(b);
        let (left, right) = (across(self.over, other.under)?, across(other.over, self.under)?);
        let under = across(self.under, other.under)?;
        match operation {
            Operation::Add => Self::new(left.checked_add(right)?, under),
            Operation::Subtract => Self::new(left.checked_sub(right)?, under),
            Operation::Multiply => Self::new(across(self.over, other.over)?, under),
            Operation::Divide | Operation::Floor | Operation::Ceiling => Self::new(left, right),
            Operation::FloorDivide => Some(Self::new(left, right)?.floor()),
            Operation::Remainder => {
                let whole = Self::new(left, right)?.floor();
                self.combine(Operation::Subtract, whole.combine(Operation::Multiply, other)?)
            }
            Operation::Greatest | Operation::Least => {
                let takes_other = match operation {
                    Operation::Greatest => left.cmp(&right) == Ordering::Less,
                    _ => left.cmp(&right) == Ordering::Greater,
                };
                Some(if takes_other { other } else { self })
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn sum(&mut self) -> Option<Expression> {
        self.chain(&[("+", Operation::Add), ("-", Operation::Subtract)], Self::product)
    }

    fn product(&mut self) -> Option<Expression> {
        // Powers are left to those who print them.
        let operations = [
            ("//", Operation::FloorDivide),
            ("/", Operation::Divide),
            ("*", Operation::Multiply),
            ("%", Operation::Remainder),
        ];
        self.chain(&operations, Self::factor)
    }

    /// Operands with operations of one precedence between them, from left to right.
    fn chain(
        &mut self,
        operations: &[(&str, Operation)],
        operand: fn(&mut Self) -> Option<Expression>,
    ) -> Option<Expression> {
        let mut left = operand(self)?;
        while let Some(&(_, operation)) = operations.iter().find(|(sign, _)| self.takes(sign)) {
            left = Expression::Apply(operation, vec![left, operand(self)?]);
        }
        Some(left)
    }

    fn factor(&mut self) -> Option<Expression> {
        if self.takes("(") {
            let inner = self.sum()?;
            return self.takes(")").then_some(inner);
        }
        if self.takes("-") {
            return Some(Expression::Apply(Operation::Subtract, vec![Expression::Number(0), self.factor()?]));
        }
        let word = self.word();
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            return word.parse().ok().map(Expression::Number);
        }
        let operation = match word {
            "" => return None,
            "floor" => Operation::Floor,
            "ceil" | "ceiling" => Operation::Ceiling,
            "Max" | "max" => Operation::Greatest,
            "Min" | "min" => Operation::Least,
            "Mod" => Operation::Remainder,
            name => return Some(Expression::Name(name.to_owned())),
        };
        if !self.takes("(") {
            return Some(Expression::Name(word.to_owned()));
        }
        let mut arguments = vec![self.sum()?];
        while self.takes(",") {
            arguments.push(self.sum()?);
        }
        self.takes(")").then_some(Expression::Apply(operation, arguments))
    }

    fn takes(&mut self, sign: &str) -> bool {
        match self.rest.trim_start().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// A name or a number: letters, digits and what may join them, as long as a letter follows.
    fn word(&mut self) -> &'a str {
        let is_letter = |c: char| c.is_alphanumeric() || c == '_';
        let mut end = 0;
        for (at, c) in self.rest.char_indices() {
            let next = self.rest[at + c.len_utf8()..].chars().next();
            let joins = matches!(c, '.' | ':' | '-' | '/')
                && at > 0
                && next.is_some_and(|next| next.is_alphabetic() || next == '_');
            if !is_letter(c) && !joins {
                break;
            }
            end = at + c.len_utf8();
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Option<u64> {
        let sizes = [("past", 7), ("seq", 1), ("h", 224), ("s0", 5)].map(|(name, size)| (name.to_owned(), size));
        Expression::parse(text)?.size(&sizes.into())
    }

    #[test]
    fn what_sympy_prints() {
        assert_eq!(size("past + seq"), Some(8));
        assert_eq!(size("2*past - seq"), Some(13));
        assert_eq!(size("past - (seq - 3)"), Some(9));
        assert_eq!(size("-1 + past"), Some(6));
        assert_eq!(size("seq - 1"), Some(0));
        // 111.5 rounded down.
        assert_eq!(size("floor(h/2 - 1/2) + 1"), Some(112));
        assert_eq!(size("((s0 + 1)//2)"), Some(3));
        assert_eq!(size("s0//2"), Some(2));
        assert_eq!(size("ceiling(s0/2)"), Some(3));
        assert_eq!(size("Max(1, past, s0)"), Some(7));
        assert_eq!(size("Min(past, s0)"), Some(5));
        assert_eq!(size("Mod(past, s0)"), Some(2));
        assert_eq!(size("past % s0"), Some(2));
    }

    #[test]
    fn what_is_no_size() {
        for text in ["seq - past", "seq - 2", "s0/2", "past//(seq - 1)", "floor(s0/0)", "other + 1"] {
            assert_eq!(size(text), None, "{text}");
        }
        let large = format!("{0}*{0}*{0}*{0}*{0}", u64::MAX);
        assert_eq!(size(&large), None);
    }

    #[test]
    fn names_stay_names() {
        for name in ["batch", "max-len", "b/n", "unk__12", "a.b", "floor", "encoder/seq", "s0"] {
            assert_eq!(Expression::parse(name), Some(Expression::Name(name.to_owned())), "{name}");
        }
        for odd in ["", "batch size", "a +", "(a", "f(a)", "2a", "a**2", "é?", &"(".repeat(300)] {
            assert_eq!(Expression::parse(odd), None, "{odd}");
        }
        assert_eq!(Expression::parse("a + 2*b + a").unwrap().names(), ["a", "b", "a"]);
    }
}
