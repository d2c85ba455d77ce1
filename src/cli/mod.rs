//! The command line: arguments in; results, words for people and an exit code out.
//!
//! Results go to standard output or to a file, everything else to standard error. A file is written whole or not at
//! all.

mod args;
mod explain;
mod input;
mod output;
mod warnings;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::args::{Analyze, AnalyzeFormat, Cli, Command, Compare, Compile, Npus, Pair, Simulate, TableOrJson};
use self::explain::Explained;
use self::input::Analysed;
use crate::coschedule::{Alone, Job, Policy, Weaver, Woven};
use crate::npu::{self, Npu};
use crate::report::{self, LayerTable, Selection};
use crate::schedule::{self, Schedule};
use crate::simulate::{self, Violation};
use crate::stream;

/// Runs the command that this process was called with.
pub fn main() -> ExitCode {
    let cli = match Cli::from_process() {
        Ok(cli) => cli,
        Err(error) => {
            // Clap's own exit codes: 0 for --help and --version, 2 for wrong usage.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let (stdout, stderr) = (io::stdout().lock(), io::stderr().lock());
    let mut out = Out { results: Box::new(io::BufWriter::new(stdout)), notes: Box::new(stderr) };
    let done = run(&cli.command, &mut out).and_then(|()| Ok(out.results.flush()?));
    let (status, words) = match done {
        Ok(()) => (Status::Done, String::new()),
        // Who reads no further has what they want.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => (Status::Done, String::new()),
        Err(Failure::Output(error)) => (Status::Unusable, format!("error: cannot write the output: {error}\n")),
        Err(Failure::Input(words)) => (Status::Unusable, format!("error: {words}\n")),
        Err(Failure::Refused(words)) => (Status::Refused, words),
    };
    let _ = out.notes.write_all(words.as_bytes());
    ExitCode::from(status as u8)
}

/// What the process says of itself when it ends; 2, wrong usage, is clap's.
#[derive(Clone, Copy)]
enum Status {
    Done = 0,
    Unusable = 1,
    Refused = 3,
}

/// Why a command did not do what it was asked.
enum Failure {
    /// An input cannot be used, in a sentence.
    Input(String),
    /// An output cannot be written.
    Output(io::Error),
    /// A schedule breaks rules, one to a line.
    Refused(String),
}

impl Failure {
    fn input(path: &Path, what: impl Display) -> Self {
        Self::Input(format!("{}: {what}", path.display()))
    }

    fn refused(of: &str, violations: &[Violation]) -> Self {
        let lines = violations.iter().map(|violation| format!("{of}: {violation}\n"));
        Self::Refused(lines.chain([format!("{of}: refused, {} violations\n", violations.len())]).collect())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Standard output and standard error.
struct Out {
    results: Box<dyn Write>,
    notes: Box<dyn Write>,
}

impl Out {
    fn note(&mut self, words: impl Display) -> io::Result<()> {
        writeln!(self.notes, "{words}")
    }

    fn warn(&mut self, words: impl Display) -> io::Result<()> {
        self.note(format_args!("warning: {words}"))
    }
}

fn run(command: &Command, out: &mut Out) -> Result<(), Failure> {
    match command {
        Command::Compile(args) => compile(args, out),
        Command::Analyze(args) => analyze(args, out),
        Command::Simulate(args) => simulate(args, out),
        Command::Compare(args) => compare(args, out),
        Command::Npus(args) => npus(args, out),
    }
}

fn compile(args: &Compile, out: &mut Out) -> Result<(), Failure> {
    let npu = input::npu(&args.pair.target.npu)?;
    let models = read_pair(&args.pair, &npu, out)?;
    let jobs = jobs(&models, args.pair.requests);
    let woven =
        Weaver::new(&npu, &jobs).and_then(|weaver| weaver.with_effort(args.pair.effort).weave(args.policy.policy()));
    let woven = woven.map_err(|no_fit| Failure::Input(no_fit.to_string()))?;
    let schedule = checked(&npu, &jobs, &woven)?;
    let mut text = Vec::new();
    schedule.write_json(&mut text)?;
    match &args.output {
        None => out.results.write_all(&text)?,
        Some(path) => output::write_whole(path, &text)
            .map_err(|error| Failure::input(path, format_args!("cannot be written: {error}")))?,
    }
    note_serial(&woven, out)?;
    out.note(report::summary_line(&schedule))?;
    Ok(())
}

fn compare(args: &Compare, out: &mut Out) -> Result<(), Failure> {
    let npu = input::npu(&args.pair.target.npu)?;
    let models = read_pair(&args.pair, &npu, out)?;
    let jobs = jobs(&models, args.pair.requests);
    let no_fit = |no_fit: crate::coschedule::NoFit| Failure::Input(no_fit.to_string());
    let weaver = Weaver::new(&npu, &jobs).map_err(no_fit)?.with_effort(args.pair.effort);
    let mut schedules = Vec::new();
    for policy in Policy::ALL {
        let woven = weaver.weave(policy).map_err(no_fit)?;
        note_serial(&woven, out)?;
        schedules.push(checked(&npu, &jobs, &woven)?);
    }
    match args.format {
        TableOrJson::Table => report::compare_table(&mut out.results, &schedules, &weaver.alone().map_err(no_fit)?)?,
        TableOrJson::Json => report::json_lines(&mut out.results, schedules.iter().map(|schedule| &schedule.summary))?,
    }
    Ok(())
}

fn analyze(args: &Analyze, out: &mut Out) -> Result<(), Failure> {
    let npu = input::npu(&args.target.npu)?;
    let paths: Vec<&Path> = args.models.iter().map(PathBuf::as_path).collect();
    let analysed = input::models(&paths, &npu, &args.target, out)?;
    let mut layouts = Vec::new();
    for Analysed { model, analysis } in &analysed {
        let layout = Alone::new(&npu, &Job { model, analysis, requests: 1 });
        if let Err(no_fit) = &layout {
            out.warn(format_args!("{no_fit}; DRAM traffic is given as if all activations stayed on chip"))?;
        }
        layouts.push(layout.ok());
    }
    let tables: Vec<LayerTable> =
        analysed.iter().zip(&layouts).map(|(of, layout)| layer_table(&npu, of, layout.as_ref())).collect();
    if let Some(layer) = &args.explain {
        let mut models = Vec::new();
        for ((of, alone), table) in analysed.iter().zip(&layouts).zip(&tables) {
            models.push(Explained::new(&npu, of, alone.as_ref(), table));
        }
        write!(out.results, "{}", explain::explain(&models, layer)?)?;
        return Ok(());
    }
    let selection = Selection { sort: args.sort.as_deref(), top: args.top };
    match args.format {
        AnalyzeFormat::Table => report::layer_tables(&mut out.results, &npu, &tables, selection)?,
        AnalyzeFormat::Csv => report::layer_csv(&mut out.results, &npu, &tables, selection)?,
        AnalyzeFormat::Json => {
            schedule::write_models(&mut out.results, tables.iter().map(|table| &table.model))?;
            writeln!(out.results)?;
        }
    }
    Ok(())
}

/// A model with the traffic of its layout alone on the NPU; where it has none, as if all activations stayed on chip.
fn layer_table(npu: &Npu, Analysed { model, analysis }: &Analysed, alone: Option<&Alone>) -> LayerTable {
    let job = Job { model, analysis, requests: 1 };
    let model = match alone {
        Some(alone) => stream::laid_out_model(npu, &job, &alone.traffic()),
        None => stream::scheduled_model(&job),
    };
    let floor_bytes = analysis.once.iter().map(|shares| shares.iter().map(|(_, bytes)| *bytes).sum()).collect();
    LayerTable { model, floor_bytes, sram_bytes: alone.map(Alone::sram_bytes) }
}

fn simulate(args: &Simulate, out: &mut Out) -> Result<(), Failure> {
    let path = &args.schedule;
    let text = match path.as_os_str() == "-" {
        true => io::read_to_string(io::stdin()).map(String::into_bytes),
        false => std::fs::read(path),
    };
    let text = text.map_err(|error| Failure::input(path, error))?;
    let schedule = Schedule::from_json(&text).map_err(|error| Failure::input(path, error))?;
    let simulation = simulate::simulate(&schedule)
        .map_err(|violations| Failure::refused(&path.display().to_string(), &violations))?;
    report::simulation(&mut out.results, &schedule, &simulation)?;
    Ok(())
}

fn npus(args: &Npus, out: &mut Out) -> Result<(), Failure> {
    let library = || npu::NAMES.iter().filter_map(|name| npu::named(name));
    match (&args.name, args.format) {
        (Some(name), _) => {
            let npu = npu::named(name).ok_or_else(|| Failure::Input(input::unknown_npu(name)))?;
            serde_json::to_writer_pretty(&mut out.results, &npu).map_err(io::Error::from)?;
            writeln!(out.results)?;
        }
        (None, TableOrJson::Table) => report::npu_table(&mut out.results, library())?,
        (None, TableOrJson::Json) => report::json_lines(&mut out.results, library())?,
    }
    Ok(())
}

fn read_pair(pair: &Pair, npu: &Npu, out: &mut Out) -> Result<Vec<Analysed>, Failure> {
    input::models(&[&pair.a, &pair.b], npu, &pair.target, out)
}

fn jobs(models: &[Analysed], requests: [u32; 2]) -> Vec<Job<'_>> {
    let pairs = models.iter().zip(requests);
    pairs.map(|(of, requests)| Job { model: &of.model, analysis: &of.analysis, requests }).collect()
}

/// The schedule of what was woven, which `simulate` has accepted.
fn checked(npu: &Npu, jobs: &[Job], woven: &Woven) -> Result<Schedule, Failure> {
    let schedule = stream::lower(npu, jobs, woven);
    match simulate::simulate(&schedule) {
        Ok(_) => Ok(schedule),
        Err(violations) => Err(Failure::refused("the new schedule", &violations)),
    }
}

fn note_serial(woven: &Woven, out: &mut Out) -> io::Result<()> {
    match woven.is_serial {
        true => out.note(format_args!(
            "note: {}: nothing shorter than the serial order was found, so it gives that",
            woven.policy.name()
        )),
        false => Ok(()),
    }
}
