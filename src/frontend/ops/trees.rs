//! How deep the trees of an ensemble are, which its attributes list node by node.

use std::collections::HashMap;

use super::context::{Context, Refusal};

/// The levels of all trees together that are gone down at most; 0 of what has no trees.
pub(super) fn levels(cx: &Context<'_>) -> Result<u64, Refusal> {
    let list = |name: &str| Ok::<_, Refusal>(cx.int_list(name)?.unwrap_or_default());
    let (if_true, if_false) = (list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
    // TreeEnsemble lists where trees begin; its nodes are numbered through, and its leaves are apart.
    if cx.has("tree_roots") {
        let is_leaf = [list("nodes_trueleafs")?, list("nodes_falseleafs")?];
        let children = |node: usize| {
            let sides = [if_true, if_false].into_iter().zip(is_leaf);
            let inner = sides.filter(|(_, is_leaf)| is_leaf.get(node) == Some(&0));
            inner.filter_map(|(ids, _)| usize::try_from(*ids.get(node)?).ok()).collect()
        };
        let roots: Vec<_> = list("tree_roots")?.iter().filter_map(|&root| usize::try_from(root).ok()).collect();
        return Ok(roots.into_iter().map(|root| depth(root, if_true.len(), &children) + 1).sum());
    }
    let (trees, nodes) = (list("nodes_treeids")?, list("nodes_nodeids")?);
    let places: HashMap<(i64, i64), usize> =
        trees.iter().copied().zip(nodes.iter().copied()).enumerate().map(|(place, id)| (id, place)).collect();
    let children = |node: usize| {
        let (Some(&tree), Some(&left), Some(&right)) = (trees.get(node), if_true.get(node), if_false.get(node)) else {
            return Vec::new();
        };
        // Of a leaf both are the same.
        let ids = if left == right { &[][..] } else { &[left, right] };
        ids.iter().filter_map(|&id| places.get(&(tree, id)).copied()).collect()
    };
    let begins = |&place: &usize| place == 0 || trees[place] != trees[place - 1];
    Ok((0..trees.len()).filter(begins).map(|root| depth(root, trees.len(), &children)).sum())
}

/// The steps from a node to the deepest below it, of so many nodes at most.
fn depth(root: usize, most: usize, children: &impl Fn(usize) -> Vec<usize>) -> u64 {
    let (mut depth, mut seen) = (0, 0);
    let mut level = vec![root];
    loop {
        seen += level.len();
        level = level.into_iter().flat_map(children).collect();
        if level.is_empty() || seen > most {
            return depth;
        }
        depth += 1;
    }
}
