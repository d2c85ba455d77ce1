//! The built-in NPUs, one JSON file each in `npus/`.

use super::Npu;

/// A name and the text of its file.
macro_rules! row {
    ($name:literal) => {
        ($name, include_str!(concat!("../../npus/", $name, ".json")))
    };
}

/// A row for each file, by name.
const FILES: &[(&str, &str)] = &[
    row!("ethos-u55-256"),
    row!("ethos-u65-512"),
    row!("ethos-u85-2048"),
    row!("gemmini"),
    row!("inferentia2"),
    row!("mnpusim-tpu"),
    row!("nvdla-full"),
    row!("onnxim-8x8-c1"),
    row!("onnxim-8x8-c4"),
    row!("onnxim-tpuv4"),
    row!("paper-like"),
    row!("planaria"),
    row!("tesla-fsd"),
    row!("tpu-v1"),
    row!("tpu-v2"),
    row!("tpu-v3"),
    row!("tpu-v4"),
    row!("tpu-v4i"),
    row!("tpu-v5e"),
    row!("tpu-v5p"),
    row!("trainium2"),
    row!("vta"),
];

/// The names of all built-in NPUs, in the order in which they are listed.
pub const NAMES: &[&str] = &{
    let mut names = [""; FILES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = FILES[i].0;
        i += 1;
    }
    names
};

/// The built-in NPU of this name.
pub fn named(name: &str) -> Option<Npu> {
    let (_, text) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(Npu::from_json(text.as_bytes()).expect("a test reads every built-in description"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_in_order_and_each_file_says_its_own() {
        assert!(NAMES.is_sorted());
        for name in NAMES {
            let npu = named(name).expect("listed");
            assert_eq!(npu.name, *name);
            assert!(!npu.source.is_empty());
        }
    }
}
