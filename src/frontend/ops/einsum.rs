//! Einsum of two operands: a product whose letters say the loop nest.

use super::context::{Context, Refusal, shown};
use super::nest::Nest;
use super::{Form, Lowered};
use crate::frontend::fact::Fact;
use crate::ir::{Access, Affine, Role};

/// A letter of both operands and the output is a group; of both alone, `k`; of the first and the output `m`, of the
/// second and the output `n`.
pub(super) fn einsum(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let equation: String = cx.text("equation")?.unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let unread =
        || Refusal::dynamic(format!("has the equation '{equation}', of which only 'ab,bc->ac' and its like are known"));
    let (operands, output) = equation.split_once("->").ok_or_else(unread)?;
    let (a, b) = operands.split_once(',').ok_or_else(unread)?;
    let all_letters = [a, b, output].iter().all(|part| part.chars().all(|c| c.is_ascii_alphabetic()));
    if !all_letters || cx.input_count() != 2 || [a, b, output].iter().any(|part| repeats(part)) {
        return Err(unread());
    }
    let misfit = || {
        let shapes = [0, 1].map(|i| cx.optional(i).map_or(String::new(), |fact| shown(&fact.shape)));
        Refusal::new(format!("has inputs {} and {}, which do not fit '{equation}'", shapes[0], shapes[1]))
    };
    let mut nest = Nest::product();
    // Each letter with its size and its index.
    let mut letters: Vec<(char, u64, Affine)> = Vec::new();
    for (part, shape) in [(a, &cx.input(0)?.shape), (b, &cx.input(1)?.shape)] {
        if part.len() != shape.len() {
            return Err(misfit());
        }
        for (letter, &size) in part.chars().zip(shape) {
            match letters.iter().find(|(known, ..)| *known == letter) {
                Some(&(_, known, _)) if known == size => {}
                Some(_) => return Err(misfit()),
                None => {
                    let role = match (a.contains(letter), b.contains(letter), output.contains(letter)) {
                        (true, true, true) => Role::Group,
                        (_, _, false) => Role::K,
                        (false, _, true) => Role::N,
                        (true, false, true) => Role::M,
                    };
                    letters.push((letter, size, nest.dim(&letter.to_string(), size, role)));
                }
            }
        }
    }
    let find = |letter: char| letters.iter().find(|(known, ..)| *known == letter);
    let access = |part: &str| part.chars().map(|c| Some(find(c)?.2.clone())).collect::<Option<_>>().map(Access);
    nest.read(0, access(a).ok_or_else(misfit)?);
    nest.read(1, access(b).ok_or_else(misfit)?);
    nest.write = access(output).ok_or_else(misfit)?;
    let shape = output.chars().map(|c| find(c).map(|&(_, size, _)| size)).collect::<Option<_>>().ok_or_else(misfit)?;
    Ok(Lowered::new(vec![Fact::at_run_time(shape, cx.input(0)?.element)], Form::Nest(nest)))
}

/// Whether a letter stands in a part twice: a diagonal.
fn repeats(part: &str) -> bool {
    part.char_indices().any(|(i, letter)| part[i + 1..].contains(letter))
}
