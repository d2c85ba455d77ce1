//! The command `layerweaver`; all of it is in [`layerweaver::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    layerweaver::cli::main()
}
