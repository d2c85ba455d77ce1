//! What is decided of If, Loop, Scan and SequenceMap before the model runs.

use super::expand::{Choice, Decision};
use super::fact::Fact;
use super::graph::{Graph, Node};
use super::ops::{Note, Refusal};
use super::proto::GraphProto;

/// Loops of more steps are not laid out step by step.
const MOST_STEPS: u64 = 1 << 12;

/// Whether a node has a body that stands in for it.
pub(super) fn is_control(node: &Node) -> bool {
    node.domain.is_empty() && matches!(node.name.op.as_str(), "If" | "Loop" | "Scan" | "SequenceMap")
}

/// What stands in for a node, and what the user should know of it; the user may say how many steps a loop takes, or 0 for an
/// If's `else_branch` and anything else for its `then_branch`.
pub(super) fn decide(
    graph: &Graph,
    node: &Node,
    inputs: &[Option<&Fact>],
    given: Option<u64>,
) -> Result<(Decision, Option<Note>), Refusal> {
    let (choice, note) = match node.name.op.as_str() {
        "If" => branch(node, inputs, given)?,
        "Loop" => steps(node, inputs, given)?,
        "SequenceMap" => (Choice::Map(mapped(graph, node, inputs)?), None),
        _ => scanned(node, inputs)?,
    };
    Ok((Decision { position: node.position, choice }, note))
}

/// The branch that a known condition takes, the one that the user says, or else the one of more nodes.
fn branch(node: &Node, inputs: &[Option<&Fact>], given: Option<u64>) -> Result<(Choice, Option<Note>), Refusal> {
    let nodes = |branch: &str| Ok::<_, Refusal>(count(body(node, branch)?));
    let given = given.map(|given| i64::from(given != 0));
    Ok(match number(inputs, 0).or(given) {
        Some(0) => (Choice::Branch("else_branch"), None),
        Some(_) => (Choice::Branch("then_branch"), None),
        None => {
            let larger = if nodes("then_branch")? >= nodes("else_branch")? { "then_branch" } else { "else_branch" };
            let (other, what) = if larger == "then_branch" { ("else_branch", 0) } else { ("then_branch", 1) };
            let flag = format!("--trip {}={what}", node.name.name);
            let what = format!(
                "has a condition that the data decides; its {larger}, of no fewer nodes, is taken; its {other} is with {flag}"
            );
            (Choice::Branch(larger), Some(Note::Size(what)))
        }
    })
}

/// The steps of a Loop: as many as it or the user says, none where its first condition is false.
fn steps(node: &Node, inputs: &[Option<&Fact>], given: Option<u64>) -> Result<(Choice, Option<Note>), Refusal> {
    let said =
        number(inputs, 0).and_then(|steps| u64::try_from(steps.max(0)).ok()).filter(|&steps| steps <= MOST_STEPS);
    let given = given.filter(|&steps| steps <= MOST_STEPS);
    let steps = match (number(inputs, 1), given, said) {
        (Some(0), _, _) => return Ok((Choice::Loop(0), None)),
        (_, Some(given), said) => return Ok((Choice::Loop(given.min(said.unwrap_or(given))), None)),
        (_, None, Some(said)) => said,
        (_, None, None) => {
            let what = format!("has no number of steps up to {MOST_STEPS} that is known before the model runs");
            return Err(Refusal::mended(what, format!("give one, as in --trip {}=8", node.name.name)));
        }
    };
    let always_begins = inputs.get(1).is_none_or(Option::is_none) || number(inputs, 1).is_some();
    if always_begins && never_stops(body(node, "body")?) {
        return Ok((Choice::Loop(steps), None));
    }
    let what = format!("may stop before its {steps} steps, which are the upper bound that is taken");
    Ok((Choice::Loop(steps), Some(Note::Size(what))))
}

/// The steps of a Scan: the size of what is scanned. Before version 9 that has a batch in front.
fn scanned(node: &Node, inputs: &[Option<&Fact>]) -> Result<(Choice, Option<Note>), Refusal> {
    let unfit = || Refusal::new("has inputs that do not fit its attribute 'num_scan_inputs'");
    let count = node.attribute("num_scan_inputs").and_then(|found| usize::try_from(found.i).ok());
    let first = count.and_then(|count| inputs.len().checked_sub(count)).ok_or_else(unfit)?;
    let shape = &inputs.get(first).copied().flatten().ok_or_else(unfit)?.shape;
    let within = |size: u64| {
        let too_many = || Refusal::new(format!("scans {size} slices, more than {MOST_STEPS}"));
        (size <= MOST_STEPS).then_some(size).ok_or_else(too_many)
    };
    if node.name.opset < 9 {
        let &[items, steps, ..] = &shape[..] else { return Err(unfit()) };
        within(items.saturating_mul(steps))?;
        let what = format!("is given the lengths of its sequences; all are taken to have {steps} steps, the most");
        let has_lengths = inputs.first().is_some_and(Option::is_some);
        return Ok((Choice::Batch { items, steps }, has_lengths.then_some(Note::Cost(what))));
    }
    let axis = node.attribute("scan_input_axes").and_then(|axes| axes.ints.first().copied()).unwrap_or(0);
    let axis = if axis < 0 { axis.checked_add_unsigned(shape.len() as u64) } else { Some(axis) };
    let size = axis.and_then(|axis| shape.get(usize::try_from(axis).ok()?).copied()).ok_or_else(unfit)?;
    Ok((Choice::Scan(within(size)?), None))
}

/// What the body of a SequenceMap is given, for each tensor of the first sequence: that of each sequence, and tensors as
/// they are.
fn mapped(graph: &Graph, node: &Node, inputs: &[Option<&Fact>]) -> Result<Vec<Vec<String>>, Refusal> {
    let first = inputs.first().copied().flatten().and_then(Fact::as_sequence);
    let count = first.ok_or_else(|| Refusal::dynamic("needs a sequence whose length is known"))?.len();
    let given = |input: usize, step: usize| {
        let value = match inputs[input].map(Fact::as_sequence) {
            Some(Some(items)) => items.get(step)?.value,
            Some(None) | None => node.inputs[input]?,
        };
        Some(graph.name(value))
    };
    let step = |step| (0..inputs.len()).map(|input| given(input, step)).collect::<Option<Vec<_>>>();
    (0..count).map(step).collect::<Option<_>>().ok_or_else(|| Refusal::new("has sequences of different lengths"))
}

/// Whether a body says to go on whatever the data: with the condition it was given, or with a constant.
fn never_stops(body: &GraphProto) -> bool {
    let Some(output) = body.output.first() else { return false };
    let given = body.input.get(1).map(|input| &input.name);
    let maker = body.node.iter().find(|node| node.output.contains(&output.name));
    match maker {
        None => true,
        Some(maker) if maker.op_type == "Constant" => true,
        Some(maker) => maker.op_type == "Identity" && maker.input.first() == given,
    }
}

/// The nodes of a graph, those of graphs within it too.
fn count(graph: &GraphProto) -> usize {
    let within = graph.node.iter().flat_map(|node| &node.attribute).filter_map(|attribute| attribute.g.as_ref());
    graph.node.len() + within.map(count).sum::<usize>()
}

fn body<'a>(node: &'a Node, name: &str) -> Result<&'a GraphProto, Refusal> {
    let found = node.attribute(name).and_then(|attribute| attribute.g.as_ref());
    found.ok_or_else(|| Refusal::new(format!("needs a graph '{name}'")))
}

/// The one number of an input that is known.
fn number(inputs: &[Option<&Fact>], index: usize) -> Option<i64> {
    match inputs.get(index).copied().flatten()?.as_ints()? {
        &[number] => Some(number),
        _ => None,
    }
}
