//! The checker and the Python oracle, which was written apart from it, say the same of every file.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::hostile::paths;
use crate::rules::BREAKS;
use crate::support::{EXAMPLE, RESIDUAL, parse, retime, verdict};

/// Reads a file a line and prints a verdict a line.
const DRIVER: &str = "
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location('oracle', sys.argv[1])
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)
for line in sys.stdin:
    bad, _ = oracle.check(json.loads(line), 2)
    print(bad[0] if bad else 'accepted')
";

fn oracle() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle/verify_schedule.py");
    let path = std::env::var_os("LAYERWEAVER_ORACLE").map_or_else(beside, PathBuf::from);
    path.exists().then_some(path)
}

/// What the oracle says of each file: `accepted`, or its first violation. `None` where it or Python is not there.
fn ask(files: &[Value]) -> Option<Vec<String>> {
    let mut python = Command::new("python3")
        .args(["-c", DRIVER])
        .arg(oracle()?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = python.stdin.take().expect("it is piped");
    let lines: Vec<u8> = files.iter().flat_map(|file| format!("{file}\n").into_bytes()).collect();
    // Apart from the reader, lest both pipes fill up.
    let writer = std::thread::spawn(move || stdin.write_all(&lines));
    let output = python.wait_with_output().expect("it ran");
    writer.join().expect("no panic").expect("the oracle reads all");
    let verdicts: Vec<_> = String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
    assert_eq!(verdicts.len(), files.len(), "the oracle answers each file");
    Some(verdicts)
}

#[test]
fn the_oracle_refuses_what_breaks_a_rule() {
    let files: Vec<_> = [parse(EXAMPLE), parse(RESIDUAL)].into_iter().chain(BREAKS.iter().map(|b| b.file())).collect();
    let Some(verdicts) = ask(&files) else { return };
    let (sound, broken) = verdicts.split_at(2);
    assert_eq!(sound, ["accepted", "accepted"]);
    for (said, broken) in broken.iter().zip(BREAKS) {
        assert_eq!(said == "accepted", broken.oracle_accepts, "{} {}: {said}", broken.variant, broken.what);
    }
}

/// Numbers and lists of sound files changed a little, half of them with times and summary made to fit.
#[test]
fn the_oracle_agrees_on_small_changes() {
    let mut random = Random(7);
    let files: Vec<_> = (0..600).map(|_| changed(&mut random)).collect();
    let Some(verdicts) = ask(&files) else { return };
    for (file, said) in files.iter().zip(verdicts) {
        let ours = verdict(file);
        let accepted = ours.as_ref().is_some_and(Result::is_ok);
        assert_eq!(accepted, said == "accepted", "ours: {ours:?}\noracle: {said}\n{file}");
    }
}

/// Knuth's linear congruential generator: the same files each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }
}

fn changed(random: &mut Random) -> Value {
    let mut file = parse([EXAMPLE, RESIDUAL][random.below(2)]);
    let mut all = Vec::new();
    paths(&file, String::new(), &mut all);
    let of_stream = |path: &String| !path.starts_with("/npu") && !path.starts_with("/summary");
    all.retain(of_stream);
    loop {
        let path = &all[random.below(all.len())];
        let value = file.pointer_mut(path).expect("it was just listed");
        match value {
            Value::Number(number) => {
                let Some(number) = number.as_i64() else { continue };
                *value = json!((number + [-1, 1, 64, -64, 2, 8][random.below(6)]).max(0));
            }
            Value::Array(items) if !items.is_empty() => {
                let at = random.below(items.len());
                drop(items.remove(at));
            }
            Value::Array(items) => items.push(json!(random.below(8))),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => continue,
        }
        break;
    }
    let mut fitted = file.clone();
    if random.below(2) == 0 && retime(&mut fitted).is_some() { fitted } else { file }
}
