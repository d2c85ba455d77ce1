//! A stream as text, a command a line, so that a diff of two reads.

use std::fmt::Write;

use crate::schedule::{Buffer, Command, Direction, Op, Schedule, Tile, Transfer};

/// The buffers, then the commands:
///
/// ```text
/// buf0 @0 4096 B a.conv1.weight [0..64, 0..64]
/// cmd0 dma load buf0 4096 B, 0..13 done 113
/// cmd1 compute gemm a#0 conv1 [0..64, 0..49] reads buf0 writes buf1 after cmd0, 113..640
/// ```
pub fn stream_text(schedule: &Schedule) -> String {
    let mut text = String::new();
    for (id, buffer) in schedule.buffers.iter_with_ids() {
        line(&mut text, format_args!("{id} {}", buffer_text(schedule, buffer)));
    }
    for (id, command) in schedule.commands.iter_with_ids() {
        line(&mut text, format_args!("{id} {}", command_text(schedule, command)));
    }
    text
}

fn line(text: &mut String, words: std::fmt::Arguments) {
    writeln!(text, "{words}").expect("writing to a String never fails");
}

fn buffer_text(schedule: &Schedule, buffer: &Buffer) -> String {
    let Buffer { address, bytes, model, request, tensor, part, element_bits } = buffer;
    let request = request.map_or_else(String::new, |request| format!("#{request}"));
    let model = &schedule.models[*model];
    let tensor = &model.tensors[*tensor];
    let width = match *element_bits == tensor.element_bits {
        true => String::new(),
        false => format!(" sums of {element_bits} bits"),
    };
    format!("@{address} {bytes} {}{request} {} {part}{width}", model.name, tensor.name)
}

fn command_text(schedule: &Schedule, command: &Command) -> String {
    let timing = command.timing();
    let after = ids(" after", &timing.waits);
    let end = timing.start + timing.cycles;
    match command {
        Command::Dma(Transfer { op, buffers, bytes, timing }) => {
            let op = match op {
                Direction::Load => "load",
                Direction::Store => "store",
            };
            let buffers = ids("", buffers);
            format!(
                "dma {op}{buffers} {bytes}{after}, {}..{} done {}",
                timing.start.get(),
                end.get(),
                timing.done.get()
            )
        }
        Command::Compute(Tile { op, model, request, layer, part, reads, writes, timing }) => {
            let op = match op {
                Op::Gemm => "gemm",
                Op::Vector => "vector",
                Op::Measured => "measured",
            };
            let model = &schedule.models[*model];
            let layer = &model.layers[*layer].layer.name;
            let (reads, writes) = (ids(" reads", reads), ids(" writes", writes));
            let (start, end) = (timing.start.get(), end.get());
            format!("compute {op} {}#{request} {layer} {part}{reads}{writes}{after}, {start}..{end}", model.name)
        }
    }
}

/// Ids after a word; nothing where there are none.
fn ids<I: std::fmt::Display>(word: &str, ids: &[I]) -> String {
    match ids {
        [] => String::new(),
        ids => ids.iter().fold(word.to_owned(), |text, id| text + " " + &id.to_string()),
    }
}
