//! Transposed convolutions: each element of the input is spread over a window of the output.

use super::context::{Context, Refusal, product, shown, signed};
use super::nest::{Nest, Read, Source};
use super::window::{self, Window};
use super::{Form, Lowered};
use crate::frontend::fact::Fact;
use crate::frontend::view::combine;
use crate::ir::{Access, Affine, Role};

/// ConvTranspose: input `[batch, g·ic, …]`, weight `[g·ic, oc, k…]`, output `[batch, g·oc, o…]`.
///
/// With a stride `s` each output needs but every `s`-th element of the kernel. Output and kernel are divided into
/// phases, `o = s·q + r` and `k = s·j + r`, of which the element `q − j` of the input is needed.
pub(super) fn conv_transpose(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, weight) = (cx.input(0)?, cx.input(1)?);
    let groups = cx.size("group", 1)?;
    let fits = x.rank() >= 3 && weight.rank() == x.rank() && x.shape[1] == weight.shape[0];
    if !fits || groups == 0 || x.shape[1] % groups != 0 {
        let (x, weight) = (shown(&x.shape), shown(&weight.shape));
        return Err(Refusal::new(format!("has input {x} and weight {weight}, which do not fit {groups} groups")));
    }
    let (ic, oc) = (x.shape[1] / groups, weight.shape[1]);
    let output = output_sizes(cx, &x.shape[2..], &weight.shape[2..])?;

    let mut nest = Nest::product();
    let batch = nest.dim("batch", x.shape[0], Role::M);
    let g = nest.dim("g", groups, Role::Group);
    let out = nest.dim("oc", oc, Role::N);
    let phases = Phases::new(cx, &mut nest, &x.shape[2..], &weight.shape[2..], &output)?;
    let inner = nest.dim("ic", ic, Role::K);
    let in_channel = combine(0, [(&g, signed(ic)?), (&inner, 1)])?;
    let out_channel = combine(0, [(&g, signed(oc)?), (&out, 1)])?;
    let read = |lead: Vec<Affine>, spatial: Option<Vec<Affine>>| spatial.map(|rest| Access([lead, rest].concat()));
    let input = read(vec![batch.clone(), in_channel.clone()], phases.input);
    nest.reads.push(Read { source: Source::Input(0), access: input });
    nest.reads.push(Read { source: Source::Input(1), access: read(vec![in_channel, out], phases.kernel) });
    if cx.optional(2).is_some() {
        nest.read(2, Access(vec![out_channel.clone()]));
    }
    nest.write = Access([vec![batch, out_channel], phases.output].concat());
    let channels = product(&[oc, groups])?;
    let shape = [&[x.shape[0], channels], &output[..]].concat();
    Ok(Lowered::new(vec![Fact::at_run_time(shape, x.element)], Form::Nest(nest)))
}

/// The spatial sizes: given, or those from which a convolution would make the input.
fn output_sizes(cx: &Context<'_>, input: &[u64], kernel: &[u64]) -> Result<Vec<u64>, Refusal> {
    let rank = input.len();
    if let Some(given) = cx.int_list("output_shape")? {
        let sizes = given.iter().map(|&size| u64::try_from(size).ok().filter(|&size| size > 0));
        let sizes = sizes.collect::<Option<Vec<_>>>().unwrap_or_default();
        // The first versions gave batch and channels too.
        let skipped = sizes.len().saturating_sub(rank);
        return match sizes.len() == rank || sizes.len() == rank + 2 {
            true => Ok(sizes[skipped..].to_vec()),
            false => Err(Refusal::new(format!("has output sizes {given:?} for {rank} dimensions"))),
        };
    }
    let strides = window::bounded(cx, "strides", rank, 1)?;
    let dilations = window::bounded(cx, "dilations", rank, 1)?;
    let pads = window::bounded(cx, "pads", 2 * rank, 0)?;
    let extra = window::bounded(cx, "output_padding", rank, 0)?;
    let is_same = cx.text("auto_pad")?.is_some_and(|mode| mode.starts_with("SAME"));
    let size = |i: usize| {
        let (size, span) = (signed(input[i])?, window::span(kernel[i], dilations[i])?);
        let steps = |count: i64| count.checked_mul(strides[i]);
        let whole = match is_same {
            true => steps(size),
            false => steps(size - 1).and_then(|far| far.checked_add(extra[i] + span - pads[i] - pads[i + rank])),
        };
        let whole = whole.and_then(|whole| u64::try_from(whole).ok()).filter(|&whole| whole > 0);
        whole.ok_or_else(|| Refusal::new("has attributes that leave nothing of its output"))
    };
    (0..rank).map(size).collect()
}

/// The spatial indices of a transposed convolution.
struct Phases {
    output: Vec<Affine>,
    /// `None` where they are not affine: a dilation within a stride, an output that no whole strides make.
    input: Option<Vec<Affine>>,
    kernel: Option<Vec<Affine>>,
}

impl Phases {
    fn new(cx: &Context<'_>, nest: &mut Nest, input: &[u64], kernel: &[u64], output: &[u64]) -> Result<Self, Refusal> {
        let rank = input.len();
        let strides = window::bounded(cx, "strides", rank, 1)?;
        let dilations = window::bounded(cx, "dilations", rank, 1)?;
        let pads = window::bounded(cx, "pads", 2 * rank, 0)?;
        let names = window::spatial_names(rank);
        let divides = |i: usize| output[i].is_multiple_of(strides[i].unsigned_abs());
        let is_affine = (0..rank).all(|i| (dilations[i] == 1 || strides[i] == 1) && divides(i));
        let (mut outputs, mut inputs, mut kernels) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..rank {
            let stride = strides[i].unsigned_abs();
            let phases = if is_affine { stride } else { 1 };
            let step = nest.dim(&format!("o{}", names[i]), output[i] / phases, Role::M);
            let phase = nest.dim(&format!("r{}", names[i]), phases, Role::M);
            let tap = nest.dim(&format!("k{}", names[i]), kernel[i].div_ceil(stride), Role::K);
            outputs.push(combine(0, [(&step, signed(phases)?), (&phase, 1)])?);
            inputs.push(combine(pads[i] / strides[i], [(&step, 1), (&tap, -dilations[i])])?);
            kernels.push(combine(0, [(&tap, strides[i]), (&phase, 1)])?);
        }
        Ok(Self { output: outputs, input: is_affine.then_some(inputs), kernel: is_affine.then_some(kernels) })
    }
}

/// Col2Im: the columns of a convolution's input are added up to the image that they came from.
pub(super) fn col2im(cx: &Context<'_>) -> Result<Lowered, Refusal> {
    let (x, image, block) = (cx.input(0)?, cx.sizes(1)?, cx.sizes(2)?);
    let per_channel = product(&block)?;
    let &[batch, columns, count] = &x.shape[..] else { return Err(Refusal::new("needs an input of rank 3")) };
    let window = Window::new(cx, &image, &block)?;
    if per_channel == 0 || columns % per_channel != 0 || product(&window.output)? != count {
        return Err(Refusal::new(format!("has columns {}, which do not fit its image", shown(&x.shape))));
    }
    let mut nest = Nest::vector(super::lanes::REDUCE);
    let shape = [&[batch, columns / per_channel], &image[..]].concat();
    nest.write = nest.axes(&shape, |_| false);
    nest.reads.push(Read { source: Source::Input(0), access: None });
    Ok(Lowered::new(vec![Fact::at_run_time(shape, x.element)], Form::Nest(nest)))
}
