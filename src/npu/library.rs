//! The built-in NPUs, one JSON file each in `npus/`.

use super::Npu;

/// A row for each file: its name and its text.
const FILES: &[(&str, &str)] =
    &[("paper-like", include_str!("../../npus/paper-like.json")), ("tpu-v3", include_str!("../../npus/tpu-v3.json"))];

/// The names of all built-in NPUs, in the order in which they are listed.
pub const NAMES: &[&str] = &["paper-like", "tpu-v3"];

/// The built-in NPU of this name.
pub fn named(name: &str) -> Option<Npu> {
    let (_, text) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(Npu::from_json(text.as_bytes()).expect("a test reads every built-in description"))
}

/// The built-in name that is the nearest to a misspelt one, if any is near.
pub fn nearest(name: &str) -> Option<&'static str> {
    let wanted = name.to_lowercase();
    let (distance, near) = NAMES.iter().map(|known| (edits(&wanted, known), *known)).min()?;
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

    #[test]
    fn every_name_has_a_file_that_says_the_same() {
        assert_eq!(NAMES.len(), FILES.len());
        for name in NAMES {
            let npu = named(name).expect("listed");
            assert_eq!(npu.name, *name);
            assert!(!npu.source.is_empty());
        }
    }

    #[test]
    fn a_near_miss_is_suggested() {
        assert_eq!(nearest("tpuv3"), Some("tpu-v3"));
        assert_eq!(nearest("Paper_like"), Some("paper-like"));
        assert_eq!(nearest("npu.json"), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
