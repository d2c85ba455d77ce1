//! A sheet of figures, each with its formula, in which a line can be checked by those above it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// Lines `name = formula = the formula in numbers = value`. Formulas are of whole numbers, `+ - * /` (without
/// rounding), `ceil`, `floor`, `max` and `min`.
#[derive(Default)]
pub(super) struct Sheet {
    text: String,
    known: BTreeMap<String, String>,
}

impl Sheet {
    /// A heading.
    pub(super) fn title(&mut self, words: impl Display) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.push(format_args!("{gap}{words}"));
    }

    /// A remark.
    pub(super) fn say(&mut self, words: impl Display) {
        self.push(format_args!("  {words}"));
    }

    /// A figure that follows from nothing here.
    pub(super) fn given(&mut self, name: &str, value: impl Display) {
        self.push(format_args!("  {name} = {value}"));
        self.known.insert(name.to_owned(), value.to_string());
    }

    /// A figure that follows from those above.
    pub(super) fn derived(&mut self, name: &str, formula: &str, value: impl Display) {
        let mut parts = vec![formula.to_owned(), self.in_numbers(formula), value.to_string()];
        parts.dedup();
        self.push(format_args!("  {name} = {}", parts.join(" = ")));
        self.known.insert(name.to_owned(), value.to_string());
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// A formula with the value of each name that is known.
    fn in_numbers(&self, formula: &str) -> String {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut numbers = String::new();
        let mut rest = formula;
        while let Some(start) = rest.find(is_name) {
            let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |length| start + length);
            let word = &rest[start..end];
            numbers += &rest[..start];
            numbers += self.known.get(word).map_or(word, String::as_str);
            rest = &rest[end..];
        }
        numbers + rest
    }

    fn push(&mut self, line: std::fmt::Arguments) {
        writeln!(self.text, "{line}").expect("writing to a String never fails");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers() {
        let mut sheet = Sheet::default();
        sheet.given("rows", 128);
        sheet.given("k", 300);
        sheet.derived("folds", "ceil(k / rows) * 2", 6);
        sheet.derived("sum", "1 + 2", 3);
        sheet.derived("same", "k", 300);
        let lines = ["  rows = 128", "  k = 300", "  folds = ceil(k / rows) * 2 = ceil(300 / 128) * 2 = 6"];
        assert_eq!(
            sheet.finish().lines().collect::<Vec<_>>(),
            [&lines[..], &["  sum = 1 + 2 = 3", "  same = k = 300"]].concat()
        );
    }
}
