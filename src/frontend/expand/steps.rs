//! Which nodes are steps of one loop's body: their names differ in the number of the step alone.

use std::collections::BTreeSet;

/// The loops that have been laid out, by what the names in their bodies begin with, a number of their own behind it.
#[derive(Debug, Default)]
pub(in super::super) struct Loops(BTreeSet<(usize, String)>);

impl Loops {
    pub(in super::super) fn insert(&mut self, prefix: &str) {
        let prefix = self.without_step(prefix);
        // Those around others come first.
        self.0.insert((prefix.len(), prefix));
    }

    /// The name of a node without the numbers of the steps that it is in, which names it in all of them.
    pub(in super::super) fn without_step(&self, name: &str) -> String {
        let mut name = name.to_owned();
        for (_, prefix) in &self.0 {
            let step = name.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('.')?.split_once('/'));
            let inner = step.filter(|(step, _)| step.parse::<u64>().is_ok()).map(|(_, inner)| inner);
            if let Some(inner) = inner {
                name = format!("{prefix}/{inner}");
            }
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_numbers_of_steps_go() {
        let mut loops = Loops::default();
        loops.insert("out");
        loops.insert("out.3/inner");
        assert_eq!(loops.without_step("out.7/layer.0/conv"), "out/layer.0/conv");
        assert_eq!(loops.without_step("out.7/inner.12/conv"), "out/inner/conv");
        for other in ["other.7/conv", "out.x/conv", "out.7", "outer.7/conv"] {
            assert_eq!(loops.without_step(other), other);
        }
    }
}
