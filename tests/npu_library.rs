//! The library of NPUs: the folder and the binary hold the same files, and each gives its vendor's headline.

use std::collections::BTreeMap;
use std::path::Path;

use layerweaver::npu::{NAMES, Npu, named};

/// Every description in `npus/`, by the file's stem.
fn files() -> BTreeMap<String, Npu> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("npus");
    let paths = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let npu = Npu::from_json(&std::fs::read(&path).unwrap());
            let npu = npu.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), npu)
        })
        .collect()
}

#[test]
fn the_folder_and_the_binary_hold_the_same() {
    let files = files();
    assert!(files.len() >= 18);
    assert_eq!(files.keys().collect::<Vec<_>>(), NAMES.iter().collect::<Vec<_>>());
    for (stem, npu) in files {
        assert_eq!(npu.name, stem);
        assert_eq!(named(&stem), Some(npu));
    }
}

/// What `npus NAME` prints has the fields of the file, and none of those that a file may leave out.
#[test]
fn a_description_is_printed_as_its_file_has_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("npus");
    for (stem, npu) in files() {
        let text = std::fs::read(folder.join(format!("{stem}.json"))).unwrap();
        let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(serde_json::to_value(&npu).unwrap(), file, "{stem}");
    }
}

/// Whoever doubts a figure finds where it is from, or that nobody published it.
#[test]
fn each_file_has_sources_and_assumptions() {
    for (stem, npu) in files() {
        assert!(npu.source.len() > 100, "{stem}");
        assert!(!npu.assumed.is_empty() && npu.assumed.iter().all(|reason| !reason.is_empty()), "{stem}");
    }
}

/// A description's name; its headline as the file's `source` states it; what of it is the described part's, in
/// operations a second; and how far off that may be, in thousandths: headlines are rounded.
///
/// Of chips whose cores are apart one core is described, so its part is a half; the headline of Ethos-U55 is for twice
/// the clock.
const HEADLINES: &[(&str, &str, u64, u64)] = &[
    ("ethos-u55-256", "512 GOP/s at 1 GHz", 256_000_000_000, 0),
    ("ethos-u65-512", "1.0 TOPS", 1_000_000_000_000, 25),
    ("ethos-u85-2048", "4 TOPS", 4_000_000_000_000, 25),
    ("inferentia2", "92 TFLOPS a core", 92_000_000_000_000, 5),
    ("tesla-fsd", "36.86 TOPS an NPU", 36_860_000_000_000, 1),
    ("tpu-v1", "92 TOPS", 92_000_000_000_000, 5),
    ("tpu-v2", "46 TFLOPS a chip", 23_000_000_000_000, 5),
    ("tpu-v3", "123 TFLOPS a chip", 61_500_000_000_000, 5),
    ("tpu-v4", "275 TFLOPS a chip", 275_000_000_000_000, 5),
    ("tpu-v4i", "137 TFLOPS", 137_000_000_000_000, 5),
    ("tpu-v5e", "197 TFLOPS", 197_000_000_000_000, 5),
    ("tpu-v5p", "459 TFLOPS a chip", 459_000_000_000_000, 5),
    ("trainium2", "79 TFLOPS a core", 79_000_000_000_000, 5),
];

#[test]
fn two_operations_a_cell_and_cycle_make_the_headline() {
    let mut without = files();
    for &(name, text, headline, permille) in HEADLINES {
        let npu = without.remove(name).unwrap_or_else(|| panic!("{name} is not in npus/"));
        assert!(npu.source.contains(&format!("Headline: {text}")), "{name}: source does not state {text}");
        let peak = 2 * npu.peak_macs_per_cycle() * npu.clock_hz;
        let off = peak.abs_diff(headline);
        assert!(off * 1000 <= headline * permille, "{name}: {peak} derived, {headline} promised");
    }
    for (name, npu) in without {
        assert!(!npu.source.contains("Headline:"), "{name}: its headline is not compared");
    }
}
