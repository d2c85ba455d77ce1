//! Warnings as people read them: what is said of many nodes is said once.

use std::collections::BTreeMap;

use crate::frontend::Warning;

/// So many nodes are named of which the same is said, beside the first.
const MOST_NAMED: usize = 3;

/// A line for all warnings that say the same, in the order of their first ones. Names and numbers may differ: those of
/// the first node stand for the others'.
pub(super) fn lines(warnings: &[Warning]) -> Vec<String> {
    let mut groups: Vec<Vec<&Warning>> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for warning in warnings {
        let at = *known.entry(gist(warning)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push(warning),
            None => groups.push(vec![warning]),
        }
    }
    groups.iter().filter_map(|group| line(group)).collect()
}

fn line(group: &[&Warning]) -> Option<String> {
    let (first, others) = group.split_first()?;
    let named: Vec<_> = others.iter().take(MOST_NAMED).map(|warning| warning.node.to_string()).collect();
    let rest = others.len().saturating_sub(MOST_NAMED);
    Some(match (named.is_empty(), rest) {
        (true, _) => first.to_string(),
        (false, 0) => format!("{first}; likewise {}", named.join(", ")),
        (false, rest) => format!("{first}; likewise {} and {rest} more", named.join(", ")),
    })
}

/// What a warning says without names in quotes, the node's own name in a flag, and numbers.
fn gist(warning: &Warning) -> String {
    let what = warning.what.replace(&format!(" {}=", warning.node.name), " =");
    let outside = what.split('\'').step_by(2).collect::<Vec<_>>().join("''");
    outside.chars().filter(|c| !c.is_ascii_digit() && *c != '×').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::NodeName;

    fn warning(name: &str, op: &str, what: &str) -> Warning {
        Warning { node: NodeName { name: name.into(), op: op.into(), opset: 17 }, what: what.into() }
    }

    #[test]
    fn what_is_said_of_many_nodes_is_said_once() {
        let rows = |name: &str, rows: u64| warning(name, "Gather", &format!("is costed as one load of {rows} rows"));
        let bound =
            |name: &str| warning(name, "TopK", &format!("makes '{name}_1' of any size; give it, as in --dim {name}=1"));
        let all = [rows("a", 4), bound("t"), rows("b", 16), bound("u"), warning("l", "Loop", "may stop")];
        assert_eq!(
            lines(&all),
            [
                "node 'a' (Gather): is costed as one load of 4 rows; likewise node 'b' (Gather)",
                "node 't' (TopK): makes 't_1' of any size; give it, as in --dim t=1; likewise node 'u' (TopK)",
                "node 'l' (Loop): may stop",
            ]
        );
        let many: Vec<_> = (0..272).map(|i| rows(&format!("g{i}"), i)).collect();
        assert_eq!(
            lines(&many),
            [
                "node 'g0' (Gather): is costed as one load of 0 rows; likewise node 'g1' (Gather), node 'g2' (Gather), node \
              'g3' (Gather) and 268 more"
            ]
        );
    }
}
