//! The command line's words.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind::ArgumentConflict;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::coschedule::{Effort, Policy};
use crate::npu::Precision;
use crate::report;

/// Weaves the layers of two models into one static command stream for an NPU.
#[derive(Debug, Parser)]
#[command(name = "layerweaver", version, about, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Weave two models into a schedule file
    Compile(Compile),
    /// Say what each layer of a model costs
    Analyze(Analyze),
    /// Check a schedule file, and say how long it takes
    Simulate(Simulate),
    /// Put every policy side by side, with the bounds
    Compare(Compare),
    /// List the built-in NPUs, or print one to edit
    Npus(Npus),
}

#[derive(Debug, Args)]
pub(super) struct Compile {
    #[command(flatten)]
    pub(super) pair: Pair,
    /// Write the schedule here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// How the next tile is chosen
    #[arg(long, default_value = "optimal")]
    pub(super) policy: PolicyName,
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    #[command(flatten)]
    pub(super) pair: Pair,
    /// How to print it
    #[arg(long, default_value = "table")]
    pub(super) format: TableOrJson,
}

/// Two models, and what they run on.
#[derive(Debug, Args)]
pub(super) struct Pair {
    /// The first model: an .onnx file, or a layer table as `analyze --format json` writes it
    #[arg(value_name = "A")]
    pub(super) a: PathBuf,
    /// The second model
    #[arg(value_name = "B")]
    pub(super) b: PathBuf,
    #[command(flatten)]
    pub(super) target: Target,
    /// Inferences of each model in the stream
    #[arg(long, value_name = "A,B", value_parser = parse_requests, default_value = "1,1")]
    pub(super) requests: [u32; 2],
    /// How long `optimal` searches: low, normal, high, or a number of states
    #[arg(long, value_name = "EFFORT", value_parser = parse_effort, default_value = "normal")]
    pub(super) effort: Effort,
}

#[derive(Debug, Args)]
pub(super) struct Analyze {
    /// The models: .onnx files or layer tables
    #[arg(value_name = "MODEL", required = true)]
    pub(super) models: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) target: Target,
    /// How to print it
    #[arg(long, default_value = "table")]
    pub(super) format: AnalyzeFormat,
    /// The column to sort layers by: figures from the largest, words from A
    #[arg(long, value_name = "COLUMN", value_parser = PossibleValuesParser::new(report::COLUMN_NAMES))]
    pub(super) sort: Option<String>,
    /// Only so many layers of each model, the first
    #[arg(long, value_name = "N")]
    pub(super) top: Option<usize>,
    /// Instead of the table: how each figure of one layer comes about, with its numbers; a name, or an index from 0
    #[arg(long, value_name = "LAYER", conflicts_with_all = ["format", "sort", "top"])]
    pub(super) explain: Option<String>,
}

impl Cli {
    /// The arguments of this process.
    pub(super) fn from_process() -> Result<Self, clap::Error> {
        let cli = Self::try_parse()?;
        match &cli.command {
            Command::Analyze(args) => args.check().map_err(|words| Self::command().error(ArgumentConflict, words))?,
            Command::Compile(_) | Command::Simulate(_) | Command::Compare(_) | Command::Npus(_) => {}
        }
        Ok(cli)
    }
}

impl Analyze {
    /// What clap cannot say: which options go together depends on the format.
    fn check(&self) -> Result<(), &'static str> {
        match self.format {
            AnalyzeFormat::Json if self.sort.is_some() || self.top.is_some() => Err(
                "--sort and --top go with the formats table and csv: the JSON is a layer table, which has all layers in \
                 the order in which they run",
            ),
            AnalyzeFormat::Json | AnalyzeFormat::Table | AnalyzeFormat::Csv => Ok(()),
        }
    }
}

/// How models are read, and for which NPU.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// A built-in NPU (see `layerweaver npus`), or a description's file
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) npu: String,
    /// The size of a symbolic dimension, or by its node that of an output that only data sizes; give it once for each
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = parse_dim)]
    pub(super) dims: Vec<(String, u64)>,
    /// The whole shape of an input, or of what a node makes where only data decides it, or the length of a sequence; give it
    /// once for each
    #[arg(long = "shape", value_name = "INPUT=1,128", value_parser = parse_shape)]
    pub(super) shapes: Vec<(String, Vec<u64>)>,
    /// The steps of a loop that only data would say, or 1 or 0 for the then or the else branch of an If; give it once for
    /// each
    #[arg(long = "trip", value_name = "NODE=STEPS", value_parser = parse_dim)]
    pub(super) trips: Vec<(String, u64)>,
    /// The format of float tensors, if not the NPU's: int4, fp8, int8, bf16, fp16, fp32, or model for each tensor's
    /// own; of weights or activations alone, or of each: weights=int4,activations=fp16
    #[arg(long, value_name = "FORMAT", value_parser = parse_precisions)]
    pub(super) precision: Option<Precisions>,
}

#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// The schedule file; `-` reads standard input
    #[arg(value_name = "SCHEDULE")]
    pub(super) schedule: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Npus {
    /// Print this NPU's description, as a file that can be edited and given back with `--npu`
    pub(super) name: Option<String>,
    /// How to print the list
    #[arg(long, default_value = "table")]
    pub(super) format: TableOrJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PolicyName {
    Optimal,
    Greedy,
    RoundRobin,
    Serial,
}

impl PolicyName {
    pub(super) const fn policy(self) -> Policy {
        match self {
            Self::Optimal => Policy::Optimal,
            Self::Greedy => Policy::Greedy,
            Self::RoundRobin => Policy::RoundRobin,
            Self::Serial => Policy::Serial,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TableOrJson {
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AnalyzeFormat {
    Table,
    Json,
    Csv,
}

/// What `--precision` says of float tensors; `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Precisions {
    pub(super) weights: Option<Format>,
    pub(super) activations: Option<Format>,
}

/// A format of float tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Of(Precision),
    /// Each tensor's own.
    Model,
}

impl Format {
    /// The width of float tensors; `None` keeps the model's.
    pub(super) const fn bits(self) -> Option<u64> {
        match self {
            Self::Of(precision) => Some(precision.bits()),
            Self::Model => None,
        }
    }
}

/// The most inferences of a model in one stream.
const MOST_REQUESTS: u32 = 1 << 16;

fn parse_precisions(text: &str) -> Result<Precisions, String> {
    if let Some(format) = parse_format(text) {
        return Ok(Precisions { weights: Some(format), activations: Some(format) });
    }
    let mut precisions = Precisions::default();
    for part in text.split(',') {
        let (of, format) = part.split_once('=').ok_or(PRECISION_MEND)?;
        let of = match of.trim() {
            "weights" => &mut precisions.weights,
            "activations" => &mut precisions.activations,
            _ => return Err(PRECISION_MEND.into()),
        };
        let format = parse_format(format.trim()).ok_or(PRECISION_MEND)?;
        if of.replace(format).is_some() {
            return Err("give the format of weights and that of activations once".into());
        }
    }
    Ok(precisions)
}

const PRECISION_MEND: &str =
    "give int4, fp8, int8, bf16, fp16, fp32 or model, or a format for each, as in weights=int4,activations=fp16";

fn parse_format(name: &str) -> Option<Format> {
    let known = Precision::ALL.into_iter().find(|precision| precision.name() == name).map(Format::Of);
    known.or_else(|| (name == "model").then_some(Format::Model))
}

fn parse_requests(text: &str) -> Result<[u32; 2], String> {
    let counts: Option<Vec<u32>> = text.split(',').map(|count| count.trim().parse().ok()).collect();
    let counts: Option<[u32; 2]> = counts.and_then(|counts| counts.try_into().ok());
    let in_range = |counts: &[u32; 2]| counts.iter().all(|count| (1..=MOST_REQUESTS).contains(count));
    counts.filter(in_range).ok_or_else(|| format!("give two whole numbers from 1 to {MOST_REQUESTS}, as in 3,1"))
}

fn parse_effort(text: &str) -> Result<Effort, String> {
    match text {
        "low" => Ok(Effort::LOW),
        "normal" => Ok(Effort::NORMAL),
        "high" => Ok(Effort::HIGH),
        states => states.parse().map(Effort).map_err(|_| "give low, normal, high or a number of states".into()),
    }
}

fn parse_dim(text: &str) -> Result<(String, u64), String> {
    let parsed =
        text.split_once('=').and_then(|(name, size)| Some((name.trim().to_owned(), size.trim().parse().ok()?)));
    parsed.filter(|(name, _)| !name.is_empty()).ok_or_else(|| "give a name and a size, as in batch=1".into())
}

fn parse_shape(text: &str) -> Result<(String, Vec<u64>), String> {
    // Names of values may hold '=', sizes cannot.
    let parsed = text.rsplit_once('=').and_then(|(name, sizes)| {
        let sizes: Option<Vec<u64>> = sizes.split(',').map(|size| size.trim().parse().ok()).collect();
        Some((name.trim().to_owned(), sizes?))
    });
    parsed
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "give an input and its sizes, as in input_ids=1,128".into())
}
