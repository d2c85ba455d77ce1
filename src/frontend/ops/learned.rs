//! The operators of ai.onnx.ml, which come from scikit-learn and the like, and those of training.

use super::context::{Context, Refusal, product, shown};
use super::{Lowered, lanes, movement, trees};
use crate::frontend::constant;
use crate::frontend::fact::{ElementType, Fact};

/// The input's shape and type: Binarizer, Imputer.
pub(super) fn same(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(x.shape.clone(), x.element)], lanes::MULTIPLY_ADD))
}

/// The input's shape, as floats: Scaler, Normalizer.
pub(super) fn scaled(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let shape = cx.input(0)?.shape.clone();
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, ElementType::Float(32))], lanes::MULTIPLY_ADD))
}

/// LabelEncoder, CategoryMapper: each element looked up in a list.
pub(super) fn encoded(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let x = cx.input(0)?;
    let element = match cx.tensor("values_tensor")? {
        Some(values) => constant::fact_of(values).map_or(x.element, |fact| fact.element),
        None if cx.has("values_floats") => ElementType::Float(32),
        None if cx.has("values_int64s") => ElementType::Int(64),
        None if cx.has("values_strings") => ElementType::Other,
        // A mapper maps text to numbers, and numbers to text.
        None if x.element == ElementType::Other => ElementType::Int(64),
        None => ElementType::Other,
    };
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(x.shape.clone(), element)], lanes::MOVE))
}

/// ArrayFeatureExtractor: some columns.
pub(super) fn extracted(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, columns) = (cx.input(0)?, product(&cx.input(1)?.shape)?);
    let shape = match &x.shape[..] {
        [] => return Err(Refusal::new("needs an input with columns")),
        [_] => vec![1, columns],
        [outer @ .., _] => [outer, &[columns]].concat(),
    };
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, x.element)], lanes::MOVE))
}

/// OneHotEncoder: one more dimension, of the categories.
pub(super) fn one_hot(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let count = cx.list_length("cats_int64s").or(cx.list_length("cats_strings")).unwrap_or(0) as u64;
    let shape = [&cx.input(0)?.shape[..], &[count]].concat();
    Ok(Lowered::by_element(cx, vec![Fact::at_run_time(shape, ElementType::Float(32))], lanes::MOVE))
}

/// FeatureVectorizer: columns of all inputs side by side.
pub(super) fn joined(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let widths = cx.int_list("inputdimensions")?.unwrap_or_default();
    let width = widths.iter().try_fold(0u64, |sum, &width| sum.checked_add(u64::try_from(width).ok()?));
    let width = width.ok_or_else(|| Refusal::new("has an attribute 'inputdimensions' that is out of range"))?;
    let fact = Fact::at_run_time(vec![rows(cx)?, width], ElementType::Float(32));
    Ok(Lowered::by_element(cx, vec![fact], lanes::MOVE))
}

/// LinearRegressor, SVMRegressor, TreeEnsembleRegressor, TreeEnsemble: some numbers for each row.
pub(super) fn regressor(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let targets = if cx.op() == "LinearRegressor" { "targets" } else { "n_targets" };
    let element = if cx.op() == "TreeEnsemble" { cx.input(0)?.element } else { ElementType::Float(32) };
    let targets = cx.size(targets, 1)?;
    by_row(cx, vec![Fact::at_run_time(vec![rows(cx)?, targets], element)], targets)
}

/// LinearClassifier, SVMClassifier, TreeEnsembleClassifier: a label for each row, and how likely each label is.
pub(super) fn classifier(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let rows = rows(cx)?;
    let lists = ["classlabels_ints", "classlabels_int64s", "classlabels_strings"];
    let count = lists.iter().find_map(|list| cx.list_length(list).filter(|&count| count > 0));
    let count = count.ok_or_else(|| Refusal::new("has no labels"))? as u64;
    let is_text = cx.list_length("classlabels_strings").is_some_and(|count| count > 0);
    let label = if is_text { ElementType::Other } else { ElementType::Int(64) };
    let outputs =
        vec![Fact::at_run_time(vec![rows], label), Fact::at_run_time(vec![rows, count], ElementType::Float(32))];
    by_row(cx, outputs, 1)
}

/// So many results of a row share its work: to go down each tree, a fetch and a comparison a level; a multiplication and
/// an addition for each coefficient, or each element of a support vector.
fn by_row(cx: &Context<'_>, outputs: Vec<Fact>, results: u64) -> Result<Lowered, Refusal> {
    let lists = ["coefficients", "support_vectors"];
    let coefficients = lists.iter().filter_map(|list| cx.list_length(list)).max().unwrap_or(0) as u64;
    let work = trees::levels(cx)?.saturating_add(coefficients).saturating_mul(lanes::MULTIPLY_ADD).clamp(1, 1 << 19);
    let what = format!("is costed as {work} vector operations for each row; what its attributes hold is not loaded");
    Ok(Lowered::by_element(cx, outputs, work.div_ceil(results.max(1))).warned(what))
}

/// ZipMap: a map of names to numbers for each row, which are the row's.
pub(super) fn zipped(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    Ok(movement::identity(cx)?.warned("makes a map of each row, which is taken as the row"))
}

/// DictVectorizer, CastMap: maps of names to numbers, of which nobody knows the names.
pub(super) fn mapped(_: &Context<'_>) -> Result<Lowered, Refusal> {
    Err(Refusal::mended("has a map as its input", "take the node out, and give the model the tensor that it makes"))
}

/// Adagrad, Adam, Momentum: weights, their gradients and some states in; new weights and states out.
pub(super) fn optimizer(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let kinds = if cx.op() == "Adam" { 4 } else { 3 };
    let given = cx.input_count().saturating_sub(2);
    if !given.is_multiple_of(kinds) {
        return Err(Refusal::new(format!("has {given} weights, gradients and states")));
    }
    let count = given / kinds;
    let behind_gradients = |i: usize| 2 + i + if i < count { 0 } else { count };
    let outputs = (0..given - count).map(|i| cx.input(behind_gradients(i)).map(like)).collect::<Result<Vec<_>, _>>()?;
    Ok(Lowered::by_element(cx, outputs, lanes::OPTIMIZER))
}

/// Gradient: one of the shape of each input that `xs` names.
pub(super) fn gradient(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let outputs = (0..cx.output_count()).map(|i| cx.input(i).map(like)).collect::<Result<Vec<_>, _>>()?;
    Ok(Lowered::by_element(cx, outputs, lanes::MOVE).roughly())
}

fn like(fact: &Fact) -> Fact {
    Fact::at_run_time(fact.shape.clone(), fact.element)
}

fn rows(cx: &Context<'_>) -> Result<u64, Refusal> {
    match cx.input(0)?.shape[..] {
        [_] => Ok(1),
        [rows, _] => Ok(rows),
        ref other => Err(Refusal::new(format!("has input {}, which has no rows and columns", shown(other)))),
    }
}
