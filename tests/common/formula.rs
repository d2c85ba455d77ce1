//! Formulas of whole numbers, evaluated exactly: `ceil(300 / 128) * 2`, with names.

use std::collections::BTreeMap;

/// A fraction in lowest terms, its denominator positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fraction {
    over: i128,
    under: i128,
}

impl Fraction {
    fn new(over: i128, under: i128) -> Self {
        let common = gcd(over.abs(), under.abs()).max(1) * under.signum();
        Self { over: over / common, under: under / common }
    }

    /// Whether it is `shown`; where that is no whole number, to six digits.
    pub(crate) fn rounds_to(self, shown: Self) -> bool {
        let apart = Self::new(self.over * shown.under - shown.over * self.under, self.under * shown.under);
        let most = if shown.under == 1 && self.under == 1 { 0 } else { 1 };
        apart.over.abs() * 2_000_000 <= most * apart.under
    }

    fn floor(self) -> i128 {
        self.over.div_euclid(self.under)
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A decimal number.
pub(crate) fn fraction(text: &str) -> Option<Fraction> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits: i128 = format!("{whole}{decimals}").parse().ok()?;
    Some(Fraction::new(digits, 10i128.pow(decimals.len() as u32)))
}

/// The value of a formula, or the word in it that nobody knows.
pub(crate) fn evaluate(formula: &str, known: &BTreeMap<String, Fraction>) -> Result<Fraction, String> {
    let mut parser = Parser { rest: formula, known };
    let value = parser.sum()?;
    if parser.rest.trim().is_empty() { Ok(value) } else { Err(parser.rest.into()) }
}

struct Parser<'a> {
    rest: &'a str,
    known: &'a BTreeMap<String, Fraction>,
}

impl Parser<'_> {
    fn takes(&mut self, symbol: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(symbol);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn sum(&mut self) -> Result<Fraction, String> {
        let mut left = self.product()?;
        loop {
            let sign = if self.takes('+') {
                1
            } else if self.takes('-') {
                -1
            } else {
                return Ok(left);
            };
            let right = self.product()?;
            left = Fraction::new(left.over * right.under + sign * right.over * left.under, left.under * right.under);
        }
    }

    fn product(&mut self) -> Result<Fraction, String> {
        let mut left = self.atom()?;
        loop {
            if self.takes('*') {
                let right = self.atom()?;
                left = Fraction::new(left.over * right.over, left.under * right.under);
            } else if self.takes('/') {
                let right = self.atom()?;
                left = Fraction::new(left.over * right.under, left.under * right.over);
            } else {
                return Ok(left);
            }
        }
    }

    fn atom(&mut self) -> Result<Fraction, String> {
        if self.takes('(') {
            let value = self.sum()?;
            return if self.takes(')') { Ok(value) } else { Err(self.rest.into()) };
        }
        self.rest = self.rest.trim_start();
        let end =
            self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if !matches!(word, "ceil" | "floor" | "max" | "min") {
            return self.known.get(word).copied().or_else(|| fraction(word)).ok_or_else(|| word.to_owned());
        }
        if !self.takes('(') {
            return Err(word.into());
        }
        let first = self.sum()?;
        let value = match word {
            "floor" => Fraction::new(first.floor(), 1),
            "ceil" => Fraction::new(-Fraction::new(-first.over, first.under).floor(), 1),
            _ => {
                let second = if self.takes(',') { self.sum()? } else { return Err(self.rest.into()) };
                let is_less = first.over * second.under < second.over * first.under;
                if is_less == (word == "min") { first } else { second }
            }
        };
        if self.takes(')') { Ok(value) } else { Err(self.rest.into()) }
    }
}
