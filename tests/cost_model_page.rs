//! `docs/cost-model.md` stays true: its sums come out, and each worked example names a test that there is.

#[path = "common/formula.rs"]
#[expect(dead_code, reason = "decimals are for the explained figures")]
mod formula;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use formula::evaluate;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cost-model.md");
    fs::read_to_string(path).expect("the page is there")
}

fn examples(page: &str) -> Vec<&str> {
    page.split("\n\n").filter(|paragraph| paragraph.starts_with("*Example.*")).collect()
}

/// A formula as the page prints it, in the words of `formula`. The page's own stars are bold print.
fn plain(printed: &str) -> String {
    let words = [("*", ""), (",", ""), ("·", "*"), ("−", "-"), ("⌈", "ceil("), ("⌉", ")"), ("⌊", "floor("), ("⌋", ")")];
    words.iter().fold(printed.to_owned(), |text, (sign, word)| text.replace(sign, word))
}

fn is_of_formula(c: &char) -> bool {
    c.is_ascii_digit() || " ,.*·+−/()⌈⌉⌊⌋".contains(*c)
}

/// The end of a text that is nothing but a formula of numbers: what comes after the last word, stop or comma.
fn formula_at_end(text: &str) -> String {
    let reversed: String = text.chars().rev().take_while(is_of_formula).collect();
    let formula: String = reversed.chars().rev().collect();
    let clause = [". ", ", "].into_iter().filter_map(|stop| formula.rfind(stop).map(|at| at + stop.len())).max();
    plain(formula[clause.unwrap_or(0)..].trim())
}

/// The formula of whole numbers at the start of a text.
fn formula_at_start(text: &str) -> Option<String> {
    let formula: String = text.chars().take_while(is_of_formula).collect();
    let end = [". ", ", "].into_iter().filter_map(|stop| formula.find(stop)).min().unwrap_or(formula.len());
    let formula = plain(formula[..end].trim_end_matches([' ', ',', '.', '(']));
    (!formula.is_empty() && !formula.contains('.')).then_some(formula)
}

/// Every `… = …` of an example whose sides are of numbers alone.
fn sums(example: &str) -> Vec<(String, String)> {
    let sides = |(at, sign): (usize, &str)| {
        let left = formula_at_end(&example[..at]);
        let right = formula_at_start(&example[at + sign.len()..])?;
        left.contains(|c: char| c.is_ascii_digit()).then_some((left, right))
    };
    example.match_indices(" = ").filter_map(sides).collect()
}

#[test]
fn its_sums_come_out() {
    let page = page();
    let mut count = 0;
    for example in examples(&page) {
        for (left, right) in sums(example) {
            let value = |formula: &str| {
                let value = evaluate(formula, &BTreeMap::new());
                value.unwrap_or_else(|word| panic!("'{word}' in {left} = {right}\n{example}"))
            };
            assert_eq!(value(&left), value(&right), "{left} = {right}\n{example}");
            count += 1;
        }
    }
    assert!(count >= 25, "{count} sums are understood");
}

/// By `room::tests::name`, or by a file of tests/ and then a name.
#[test]
fn its_examples_name_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = page();
    let all = examples(&page);
    assert!(all.len() >= 14, "{} examples", all.len());
    for example in all {
        let words: Vec<&str> = example.split('`').skip(1).step_by(2).collect();
        let mut file = None;
        let mut count = 0;
        for word in words {
            if word.starts_with("tests/") {
                file = Some(root.join(word));
            } else if let Some((room, name)) = word.split_once("::tests::") {
                let path = format!("src/{}", room.replace("::", "/"));
                let files =
                    [format!("{path}.rs"), format!("{path}/mod.rs")].map(|path| fs::read_to_string(root.join(path)));
                assert!(files.iter().flatten().any(|text| text.contains(&format!("fn {name}("))), "{word} is no test");
                count += 1;
            } else if let Some(file) = file.take() {
                let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                assert!(text.contains(&format!("fn {word}(")), "{word} is not in {}", file.display());
                count += 1;
            }
        }
        assert!(count > 0, "no test holds this:\n{example}");
    }
}
