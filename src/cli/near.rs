//! Near misses: what a misspelt name may have meant.

/// The name that is the nearest to a misspelt one, if any is near: a third of its letters may be wrong.
pub(super) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    let (distance, near) = names.into_iter().map(|known| (edits(&lower, &known.to_lowercase()), known)).min()?;
    (distance <= near.len() / 3).then_some(near)
}

/// Levenshtein's distance, over bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitute = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = substitute.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npu::NAMES;

    #[test]
    fn a_near_miss_is_suggested() {
        let nearest = |wanted| nearest(wanted, NAMES.iter().copied());
        assert_eq!(nearest("tpuv3"), Some("tpu-v3"));
        assert_eq!(nearest("Paper_like"), Some("paper-like"));
        assert_eq!(nearest("npu.json"), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
