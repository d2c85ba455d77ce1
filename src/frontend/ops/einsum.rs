//! Einsum: a product, a transposition or a sum whose letters say the loop nest.

use super::body::Body;
use super::context::{Context, Refusal, shown};
use super::nest::Nest;
use super::{Form, Lowered, View, lanes, movement};
use crate::frontend::fact::Fact;
use crate::frontend::view;
use crate::ir::{Access, Affine, Role};

/// Of two operands, a letter of both and the output is a group; of both alone, `k`; of the first and the output `m`, of
/// the second and the output `n`. Of one operand, a letter that the output lacks is summed. Of more than two, the first
/// two are one for the third, and so on.
pub(super) fn einsum(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let equation: String = cx.text("equation")?.unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let unread = || {
        let what = format!("has the equation '{equation}', which does not fit its inputs or has no plain letters");
        Refusal::mended(what, "export the model with MatMul in its place")
    };
    let ranks = (0..cx.input_count()).map(|i| Ok(cx.input(i)?.rank())).collect::<Result<Vec<_>, Refusal>>()?;
    let (operands, output) = letters(&equation, &ranks).ok_or_else(unread)?;
    if let [operand] = &operands[..]
        && operand.len() == output.len()
        && is_plain(operand)
    {
        return transposition(cx, operand, &output).ok_or_else(unread);
    }
    let nest = if operands.len() == 2 { Nest::product() } else { Nest::vector(lanes::REDUCE) };
    let lowered = product(cx, nest, &operands, &output)?;
    Ok(if operands.len() > 2 { lowered.within(in_pairs(&operands, &output)) } else { lowered })
}

/// Products of two, one after the other. Each keeps the letters that the output or a later operand has.
fn in_pairs(operands: &[String], output: &str) -> Body {
    let mut body = Body::new(operands.len());
    let (mut product, mut letters) = (Body::input(0), operands[0].clone());
    for (i, next) in operands.iter().enumerate().skip(1) {
        let is_last = i + 1 == operands.len();
        let mut kept: Vec<char> = letters.chars().chain(next.chars()).collect();
        kept.sort_unstable();
        kept.dedup();
        kept.retain(|&letter| output.contains(letter) || operands[i + 1..].iter().any(|later| later.contains(letter)));
        let kept: String = if is_last { output.to_owned() } else { kept.into_iter().collect() };
        product = body.einsum(&[&product, &Body::input(i)], &format!("{letters},{next}->{kept}"));
        letters = kept;
    }
    body.output(&product);
    body
}

/// The letters of each operand and of the output. Dots stand for letters of their own, those of all operands aligned at
/// the last; an output that is left out has the dots and, in order, each letter that is there once.
fn letters(equation: &str, ranks: &[usize]) -> Option<(Vec<String>, String)> {
    let (inputs, output) =
        equation.split_once("->").map_or((equation, None), |(inputs, output)| (inputs, Some(output)));
    let parts: Vec<&str> = inputs.split(',').collect();
    if parts.len() != ranks.len() {
        return None;
    }
    // Digits, the last dimension first: no equation has any.
    let digit = |i: usize| char::from_digit(u32::try_from(i).ok()?, 10);
    let dots = |count: usize| (0..count).rev().map(digit).collect::<Option<String>>();
    let (mut operands, mut all_dots) = (Vec::new(), String::new());
    for (part, rank) in parts.iter().zip(ranks) {
        let given = part.chars().filter(char::is_ascii_alphabetic).count();
        let own = dots(if part.contains("...") { rank.checked_sub(given)? } else { 0 })?;
        if own.len() > all_dots.len() {
            all_dots.clone_from(&own);
        }
        operands.push(part.replacen("...", &own, 1));
    }
    let output = match output {
        Some(output) => output.replacen("...", &all_dots, 1),
        None => {
            let mut once: Vec<char> = inputs.chars().filter(char::is_ascii_alphabetic).collect();
            once.retain(|letter| inputs.matches(*letter).count() == 1);
            once.sort_unstable();
            all_dots.chars().chain(once).collect()
        }
    };
    let is_read = |part: &String| part.chars().all(|letter| letter.is_ascii_alphanumeric());
    (operands.iter().all(is_read) && is_read(&output) && is_plain(&output)).then_some((operands, output))
}

/// The letters of one operand in another order.
fn transposition(cx: &Context<'_>, operand: &str, output: &str) -> Option<Lowered> {
    let x = cx.optional(0).filter(|x| x.rank() == operand.len())?;
    let permutation = output.chars().map(|letter| operand.find(letter)).collect::<Option<Vec<_>>>()?;
    let shape = permutation.iter().map(|&i| x.shape[i]).collect();
    let (read, write) = (view::transpose(&permutation), view::transpose_back(&permutation));
    Some(movement::viewed(cx, x, vec![(shape, View { read: Some(read), write: Some(write) })]))
}

/// The loop nest that has a dimension for each letter.
fn product(cx: &Context<'_>, mut nest: Nest, operands: &[String], output: &str) -> Result<Lowered, Refusal> {
    let misfit = || {
        let shapes: Vec<_> = (0..operands.len()).filter_map(|i| Some(shown(&cx.optional(i)?.shape))).collect();
        Refusal::new(format!("has inputs {}, which do not fit its equation", shapes.join(" and ")))
    };
    // Each letter with its size and its index.
    let mut letters: Vec<(char, u64, Affine)> = Vec::new();
    for (i, part) in operands.iter().enumerate() {
        let shape = &cx.input(i)?.shape;
        if part.len() != shape.len() {
            return Err(misfit());
        }
        for (letter, &size) in part.chars().zip(shape) {
            match letters.iter().find(|(known, ..)| *known == letter) {
                Some(&(_, known, _)) if known == size => {}
                Some(_) => return Err(misfit()),
                None => {
                    let is_shared = operands.iter().all(|part| part.contains(letter));
                    let role = match (output.contains(letter), is_shared && operands.len() == 2, i) {
                        (false, ..) => Role::K,
                        (true, true, _) => Role::Group,
                        (true, false, 0) => Role::M,
                        (true, false, _) => Role::N,
                    };
                    letters.push((letter, size, nest.dim(&letter.to_string(), size, role)));
                }
            }
        }
    }
    let find = |letter: char| letters.iter().find(|(known, ..)| *known == letter);
    let access = |part: &str| part.chars().map(|c| Some(find(c)?.2.clone())).collect::<Option<_>>().map(Access);
    for (i, part) in operands.iter().enumerate() {
        nest.read(i, access(part).ok_or_else(misfit)?);
    }
    nest.write = access(output).ok_or_else(misfit)?;
    let shape = output.chars().map(|c| find(c).map(|&(_, size, _)| size)).collect::<Option<_>>().ok_or_else(misfit)?;
    Ok(Lowered::new(vec![Fact::at_run_time(shape, cx.input(0)?.element)], Form::Nest(nest)))
}

/// Whether a part has no letter twice, which would be a diagonal.
fn is_plain(part: &str) -> bool {
    part.char_indices().all(|(i, letter)| !part[..i].contains(letter))
}
