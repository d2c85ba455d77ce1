//! Data flow one way: each room knows only those that DESIGN.md's table names in its row.

use std::fs;
use std::path::{Path, PathBuf};

/// A row for each room: what it may `use crate::…`. `units` are everybody's.
const MAY_USE: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("ir", &[]),
    ("frontend", &["ir"]),
    ("npu", &[]),
    ("cost", &["ir", "npu"]),
    ("analysis", &["ir", "npu", "cost"]),
    ("coschedule", &["ir", "npu", "cost", "analysis"]),
    ("schedule", &["ir", "npu"]),
    ("stream", &["ir", "npu", "analysis", "coschedule", "schedule"]),
    ("simulate", &["schedule", "npu"]),
    ("report", &["schedule", "simulate"]),
    ("cli", &["ir", "frontend", "npu", "cost", "analysis", "coschedule", "schedule", "stream", "simulate", "report"]),
];

#[test]
fn each_room_knows_only_those_of_its_row() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms = Vec::new();
    for file in files(&source) {
        let inside = file.strip_prefix(&source).expect("below src");
        let first = inside.iter().next().expect("a file").to_string_lossy();
        let room = first.trim_end_matches(".rs").to_owned();
        if room == "lib" || room == "main" {
            continue;
        }
        let (_, allowed) =
            MAY_USE.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{room} has no row"));
        for used in used_rooms(&fs::read_to_string(&file).expect("readable")) {
            let is_fine = used == room || used == "units" || allowed.contains(&used.as_str());
            assert!(is_fine, "{} uses crate::{used}, which is not in the row of {room}", inside.display());
        }
        rooms.push(room);
    }
    for (room, _) in MAY_USE {
        assert!(rooms.iter().any(|found| found == room), "{room} has a row and no file");
    }
}

/// What follows each `crate::`.
fn used_rooms(text: &str) -> Vec<String> {
    let of_path = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let paths = text.lines().filter(is_code).flat_map(|line| line.split("crate::").skip(1)).map(of_path);
    paths.filter(|room| !room.is_empty()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let rust = files.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    rust.chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}
