//! No file makes the checker panic, or takes it long.

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};
use serde_json::{Value, json};

use crate::support::{EXAMPLE, RESIDUAL, parse, verdict};

/// The path of every value in a file.
pub(crate) fn paths(value: &Value, path: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| paths(field, format!("{path}/{name}"), all)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| paths(item, format!("{path}/{i}"), all)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    all.push(path);
}

fn nasty() -> impl Strategy<Value = Value> {
    let edges =
        [0, 1, 2, 3, 63, 1 << 20, u64::from(u32::MAX), 1 << 32, 1 << 47, 1 << 48, 1 << 63, u64::MAX - 1, u64::MAX];
    prop_oneof![
        4 => proptest::sample::select(edges.to_vec()).prop_map(|edge| json!(edge)),
        4 => (0u64..40).prop_map(|small| json!(small)),
        1 => proptest::sample::select(vec![i64::MIN, -(1 << 48), -1]).prop_map(|edge| json!(edge)),
        1 => proptest::sample::select(vec![json!(null), json!([]), json!([[0, u64::MAX]]), json!(1e300), json!("gemm")]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn nothing_in_a_file_makes_it_panic(
        which: bool, changes in proptest::collection::vec((any::<proptest::sample::Index>(), nasty()), 1..4)
    ) {
        let mut file = parse(if which { EXAMPLE } else { RESIDUAL });
        for (at, value) in changes {
            let mut all = Vec::new();
            paths(&file, String::new(), &mut all);
            let path = &all[at.index(all.len())];
            match file.pointer_mut(path).expect("it was just listed") {
                Value::Array(items) if value.is_u64() => items.push(value),
                other => *other = value,
            }
        }
        if let Some(Err(found)) = verdict(&file) {
            prop_assert!(!found.is_empty());
            prop_assert!(found.iter().all(|violation| !violation.to_string().is_empty()));
        }
    }
}
