//! The machine: two queues in order, each command after those that it waits for.

use super::clock::Class;
use super::facts::Facts;
use super::violation::Violation;
use crate::schedule::{Command, CommandId, IdVec, Schedule};
use crate::units::Cycles;

/// A run of the stream in which every command takes as long as the file says.
pub(super) struct Replay {
    /// When each command starts.
    pub(super) start: IdVec<CommandId, Cycles>,
    /// When what each command makes can be used.
    pub(super) done: IdVec<CommandId, Cycles>,
    /// All commands, each after its engine's previous one and after its waits.
    pub(super) started: Vec<CommandId>,
}

/// An engine, its commands and how far it has come.
struct Queue {
    commands: Vec<CommandId>,
    next: usize,
    /// How many waits of the next command are known to be done: none is looked at again.
    met: usize,
    free: Cycles,
}

/// Runs the stream, to the end or into a deadlock: then gives the commands that stand first in a queue for ever.
pub(super) fn replay(schedule: &Schedule) -> Result<Replay, Vec<CommandId>> {
    let commands = &schedule.commands;
    let mut queues =
        [queue(commands, |class| class == Class::Compute), queue(commands, |class| class != Class::Compute)];
    let mut run = Run {
        schedule,
        start: commands.iter().map(|_| Cycles::ZERO).collect(),
        done: commands.iter().map(|_| None).collect(),
        started: Vec::with_capacity(commands.len()),
    };
    loop {
        let before = run.started.len();
        for queue in &mut queues {
            while run.step(queue) {}
        }
        if run.started.len() == before {
            break;
        }
    }
    let stuck: Vec<_> = queues.iter().filter_map(|queue| queue.commands.get(queue.next)).copied().collect();
    if !stuck.is_empty() {
        return Err(stuck);
    }
    let done = run.done.into_iter().map(|done| done.expect("no queue is stuck")).collect();
    Ok(Replay { start: run.start, done, started: run.started })
}

fn queue(commands: &IdVec<CommandId, Command>, is_its: impl Fn(Class) -> bool) -> Queue {
    let its = commands.iter_with_ids().filter(|(_, command)| is_its(Class::of(command)));
    Queue { commands: its.map(|(id, _)| id).collect(), next: 0, met: 0, free: Cycles::ZERO }
}

struct Run<'a> {
    schedule: &'a Schedule,
    start: IdVec<CommandId, Cycles>,
    done: IdVec<CommandId, Option<Cycles>>,
    started: Vec<CommandId>,
}

impl Run<'_> {
    /// Starts an engine's next command, if there is one and all that it waits for is done.
    fn step(&mut self, queue: &mut Queue) -> bool {
        let Some(&id) = queue.commands.get(queue.next) else { return false };
        let command = &self.schedule.commands[id];
        let timing = command.timing();
        while let Some(&wait) = timing.waits.get(queue.met) {
            if self.done[wait].is_none() {
                return false;
            }
            queue.met += 1;
        }
        let waited = timing.waits.iter().filter_map(|&wait| self.done[wait]);
        let start = waited.fold(queue.free, Cycles::max);
        queue.free = start + timing.cycles;
        (queue.next, queue.met) = (queue.next + 1, 0);
        self.start[id] = start;
        // One latency for all transfers: those of one direction are done in the order of their queue by themselves.
        self.done[id] = Some(queue.free + latency(self.schedule, command));
        self.started.push(id);
        true
    }
}

/// From the end of a command's stay on its engine until it is done.
pub(super) const fn latency(schedule: &Schedule, command: &Command) -> Cycles {
    match command {
        Command::Dma(_) => Cycles(schedule.npu.dram.latency_cycles),
        Command::Compute(_) => Cycles::ZERO,
    }
}

/// Rule 2.2: the file's `start` and `done` are those of the run.
pub(super) fn check_times(facts: &Facts<'_>, replay: &Replay, found: &mut Vec<Violation>) {
    for (id, command) in facts.schedule.commands.iter_with_ids() {
        let (timing, start, done) = (command.timing(), replay.start[id], replay.done[id]);
        if (timing.start, timing.done) != (start, done) {
            let (file_start, file_done) = (timing.start, timing.done);
            found.push(Violation::WrongTimes { command: facts.named(id), start, done, file_start, file_done });
        }
    }
}
