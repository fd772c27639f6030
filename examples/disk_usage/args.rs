//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;

/// How much disk trees of files use
///
/// The totals are those of du: allocated blocks, those of the directories themselves included; a file with several
/// names counts once; symbolic links are not followed.
#[derive(Debug, Parser)]
#[command(name = "disk_usage", version)]
#[command(after_help = "Exit status: 0 if all was read, 1 if something could not be read or the report not \
                        written, 2 if the command line was wrong, 130 if it was stopped by Ctrl-C (what had been counted by then is shown).")]
pub(crate) struct Args {
    /// What to count; one that lies within an earlier one is counted there
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) roots: Vec<PathBuf>,

    /// Count the lengths of files and directories rather than the blocks allocated for them
    #[arg(short = 'b', long)]
    pub(crate) apparent_size: bool,

    /// Stay on the file system of each root
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,

    /// How many of the largest directories to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,

    /// Write one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    /// How many directories are read at a time [default: one for each processor, and four at least]
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
}

impl Args {
    pub(crate) fn jobs(&self) -> usize {
        self.jobs
            .map_or_else(|| std::thread::available_parallelism().map_or(4, NonZeroUsize::get).max(4), NonZeroUsize::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
