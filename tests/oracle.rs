//! Every pair's schedule before an independent judge: `shared/oracle/verify_schedule.py`, with jitter. Skipped, with a
//! word, where there is no Python or no oracle.

mod common;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use common::{NPUS, Network, npu, pairs, schedules};
use layerweaver::schedule::Schedule;

/// `$LAYERWEAVER_ORACLE`, or the file beside this repository.
fn oracle() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle/verify_schedule.py");
    let path = std::env::var_os("LAYERWEAVER_ORACLE").map_or(beside, PathBuf::from);
    let has_python = Command::new("python3").arg("--version").output().is_ok();
    let found = (has_python && path.exists()).then_some(path);
    if found.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: no python3, or no oracle");
    }
    found
}

/// What the oracle says of a schedule, if it refuses it.
fn refusal(oracle: &PathBuf, schedule: &Schedule) -> Option<String> {
    let file = tempfile::Builder::new().suffix(".json").tempfile().expect("a temporary file");
    schedule.write_json(&mut file.as_file()).expect("written");
    let judged = Command::new("python3").arg(oracle).arg(file.path()).args(["--jitter", "3"]).output().expect("runs");
    let words = [judged.stdout, judged.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (!judged.status.success()).then_some(words)
}

#[test]
fn the_oracle_accepts_every_pair() {
    let Some(oracle) = oracle() else { return };
    let jobs: Vec<_> = pairs().flat_map(|pair| NPUS.map(|npu| (pair, npu))).collect();
    let judge = |jobs: &[((&str, &str), &str)]| {
        for ((a, b), name) in jobs {
            let npu = npu(name);
            for schedule in schedules(&npu, &Network::read(a, &npu), &Network::read(b, &npu), [1, 1]) {
                let refused = refusal(&oracle, &schedule);
                assert_eq!(refused, None, "{a} {b} on {name}, {}", schedule.summary.policy);
            }
        }
    };
    let (first, second) = jobs.split_at(jobs.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| judge(first));
        judge(second);
    });
}

#[test]
fn the_oracle_accepts_several_requests() {
    let Some(oracle) = oracle() else { return };
    let npu = npu("paper-like");
    let (a, b) = (Network::read("tiny_cnn", &npu), Network::read("ncf", &npu));
    for schedule in schedules(&npu, &a, &b, [3, 5]) {
        assert_eq!(refusal(&oracle, &schedule), None, "{}", schedule.summary.policy);
    }
}
