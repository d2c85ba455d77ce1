//! Operators on text. No NPU runs them, but shapes go through.

use super::context::{Context, Refusal, shown};
use super::{Lowered, lanes};
use crate::frontend::fact::{ElementType, Fact};

/// StringNormalizer: other letters; words that are taken out make the output shorter.
pub(super) fn normalizer(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let takes_out = cx.list_length("stopwords").is_some_and(|count| count > 0);
    let mut shape = x.shape.clone();
    if let (Some(words), true) = (shape.last_mut(), takes_out) {
        *words = cx.bounded(*words);
    }
    let lowered = Lowered::by_element(cx, vec![Fact::at_run_time(shape, x.element)], lanes::MOVE);
    Ok(if takes_out { lowered.at_most("no word is taken out") } else { lowered })
}

/// StringSplit: only the text says how many parts there are.
pub(super) fn split(_: &Context<'_>) -> Result<Lowered, Refusal> {
    Err(Refusal::mended(
        "splits text, of which only the text says how many parts there are",
        "split text before the model, and take the node out",
    ))
}

/// TfIdfVectorizer: a count for each word or sequence of words.
pub(super) fn tf_idf(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let indexes = cx.int_list("ngram_indexes")?.unwrap_or_default();
    let last = indexes.iter().copied().max().and_then(|last| u64::try_from(last).ok());
    let count = last.and_then(|last| last.checked_add(1)).ok_or_else(|| Refusal::new("has no 'ngram_indexes'"))?;
    let shape = match x.shape[..] {
        [] | [_] => vec![count],
        [batch, _] => vec![batch, count],
        _ => return Err(Refusal::new(format!("has input {}, which is no batch of texts", shown(&x.shape)))),
    };
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, ElementType::Float(32))], lanes::MOVE))
}
