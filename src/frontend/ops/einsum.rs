//! Einsum: a product, a transposition or a sum whose letters say the loop nest.

use super::context::{Context, Refusal, shown};
use super::nest::Nest;
use super::{Form, Lowered, View, lanes, movement};
use crate::frontend::fact::Fact;
use crate::frontend::view;
use crate::ir::{Access, Affine, Role};

/// Of two operands, a letter of both and the output is a group; of both alone, `k`; of the first and the output `m`, of
/// the second and the output `n`. Of one operand, a letter that the output lacks is summed.
pub(super) fn einsum(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let equation: String = cx.text("equation")?.unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let unread = || {
        let what = format!("has the equation '{equation}'; only one or two operands of plain letters are known");
        Refusal { what, mend: "export the model with MatMul in its place" }
    };
    let (operands, output) = equation.split_once("->").ok_or_else(unread)?;
    let operands: Vec<&str> = operands.split(',').collect();
    let are_plain = operands.iter().chain([&output]).all(|part| is_plain(part));
    if !are_plain || operands.len() != cx.input_count() || !(1..=2).contains(&operands.len()) {
        return Err(unread());
    }
    if let [operand] = operands[..]
        && operand.len() == output.len()
    {
        return transposition(cx, operand, output).ok_or_else(unread);
    }
    let nest = if operands.len() == 2 { Nest::product() } else { Nest::vector(lanes::REDUCE) };
    product(cx, nest, &operands, output)
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
fn product(cx: &Context<'_>, mut nest: Nest, operands: &[&str], output: &str) -> Result<Lowered, Refusal> {
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

/// Whether a part has letters only, and none twice, which would be a diagonal.
fn is_plain(part: &str) -> bool {
    let is_new = |(i, letter): (usize, char)| !part[..i].contains(letter);
    part.chars().all(|letter| letter.is_ascii_alphabetic()) && part.char_indices().all(is_new)
}
