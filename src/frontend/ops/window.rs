//! Sliding windows, of convolutions and pools alike: sizes of the output, and where each iteration reads.

use super::context::{Context, Refusal, signed};
use super::nest::Nest;
use crate::frontend::view::combine;
use crate::ir::{Affine, Role};

/// Strides, dilations, pads and kernels beyond this are no network's; below it no sum of them leaves `i64`.
const LARGEST: i64 = 1 << 31;

/// A window that slides over the spatial dimensions of its input.
pub(super) struct Window {
    pub(super) kernel: Vec<u64>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    /// Padding before the first element of each dimension.
    pads: Vec<i64>,
    /// How many positions it takes.
    pub(super) output: Vec<u64>,
}

/// The window's dimensions in a loop nest, and where it reads its input.
pub(super) struct WindowDims {
    pub(super) output: Vec<Affine>,
    pub(super) kernel: Vec<Affine>,
    pub(super) input: Vec<Affine>,
}

impl Window {
    /// Reads the attributes of a window over spatial dimensions of these sizes.
    pub(super) fn new(cx: &Context<'_>, input: &[u64], kernel: &[u64]) -> Result<Self, Refusal> {
        let rank = input.len();
        let strides = bounded(cx, "strides", rank, 1)?;
        let dilations = bounded(cx, "dilations", rank, 1)?;
        let given = bounded(cx, "pads", 2 * rank, 0)?;
        let rounds_up = cx.flag("ceil_mode", false)?;
        let auto_pad = cx.text("auto_pad")?.unwrap_or("NOTSET");
        let mut window =
            Self { kernel: kernel.to_vec(), strides, dilations, pads: Vec::new(), output: Vec::with_capacity(rank) };
        for i in 0..rank {
            let size = signed(input[i])?;
            let (stride, span) = (window.strides[i], span(kernel[i], window.dilations[i])?);
            let same = |spare_first: bool| {
                let output = size.div_euclid(stride) + i64::from(size.rem_euclid(stride) != 0);
                let all = ((output - 1) * stride + span - size).max(0);
                (if spare_first { all - all / 2 } else { all / 2 }, output)
            };
            let (pad, output) = match auto_pad {
                "SAME_UPPER" => same(false),
                "SAME_LOWER" => same(true),
                "VALID" => (0, positions(size, span, stride, false)),
                "NOTSET" | "" => {
                    let (before, after) = (given[i], given[i + rank]);
                    let output = positions(size + before + after, span, stride, rounds_up);
                    // Rounded up, the last window may still not begin in the padding behind.
                    let begins_behind = rounds_up && (output - 1) * stride >= size + before;
                    (before, output - i64::from(begins_behind))
                }
                other => return Err(Refusal::new(format!("has the unknown padding mode '{other}'"))),
            };
            window.pads.push(pad);
            window.output.push(u64::try_from(output).ok().filter(|&output| output > 0).ok_or_else(|| {
                Refusal::new(format!("has a window of {span} elements over a dimension of {size} elements"))
            })?);
        }
        Ok(window)
    }

    /// A window over all of its input.
    pub(super) fn whole(input: &[u64]) -> Self {
        let rank = input.len();
        let (strides, dilations, pads) = (vec![1; rank], vec![1; rank], vec![0; rank]);
        Self { kernel: input.to_vec(), strides, dilations, pads, output: vec![1; rank] }
    }

    /// The dimensions over the window's positions.
    pub(super) fn output_dims(&self, nest: &mut Nest) -> Vec<Affine> {
        let names = spatial_names(self.output.len());
        self.output.iter().zip(names).map(|(&size, name)| nest.dim(&format!("o{name}"), size, Role::M)).collect()
    }

    /// The dimensions within the window, and what both together read.
    pub(super) fn dims(&self, nest: &mut Nest, output: Vec<Affine>) -> Result<WindowDims, Refusal> {
        let names = spatial_names(self.kernel.len());
        let kernel: Vec<_> =
            self.kernel.iter().zip(names).map(|(&size, name)| nest.dim(&format!("k{name}"), size, Role::K)).collect();
        let index = |i: usize| {
            let parts = [(&output[i], self.strides[i]), (&kernel[i], self.dilations[i])];
            combine(-self.pads[i], parts)
        };
        let input = (0..kernel.len()).map(index).collect::<Result<_, _>>()?;
        Ok(WindowDims { output, kernel, input })
    }
}

/// From the first to the last element that a window sees.
pub(super) fn span(kernel: u64, dilation: i64) -> Result<i64, Refusal> {
    let kernel = signed(kernel)?;
    if !(1..=LARGEST).contains(&kernel) {
        return Err(Refusal::new("has a kernel size that is out of range"));
    }
    Ok((kernel - 1) * dilation + 1)
}

/// The positions of a window of `span` elements over `size` elements; 0 or less if there is none.
fn positions(size: i64, span: i64, stride: i64, rounds_up: bool) -> i64 {
    let room = size - span;
    let steps = room.div_euclid(stride) + i64::from(rounds_up && room.rem_euclid(stride) != 0);
    if room < 0 { 0 } else { steps + 1 }
}

/// An attribute with a number for each dimension, none below `least`, which is also what it is when left out.
pub(super) fn bounded(cx: &Context<'_>, name: &str, count: usize, least: i64) -> Result<Vec<i64>, Refusal> {
    let Some(given) = cx.int_list(name)? else { return Ok(vec![least; count]) };
    if given.len() != count || given.iter().any(|value| !(least..=LARGEST).contains(value)) {
        return Err(Refusal::new(format!("has an attribute '{name}' that needs {count} numbers from {least} up")));
    }
    Ok(given.to_vec())
}

pub(super) fn spatial_names(rank: usize) -> Vec<String> {
    let known: &[&str] = match rank {
        1 => &["w"],
        2 => &["h", "w"],
        3 => &["d", "h", "w"],
        _ => return (0..rank).map(|i| i.to_string()).collect(),
    };
    known.iter().map(|&name| name.to_owned()).collect()
}
