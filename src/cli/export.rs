//! `regatta export`: a run's model in a form that other programs load.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::adapter::peft::export::ExportError;
use crate::base::files::make_folder;
use crate::cli::args::{ExportArgs, ExportFormat};
use crate::config::problems::Problems;
use crate::live::terminal::output::print_line;
use crate::runs::export::trained::TrainedModel;

/// Exports a run's model.
///
/// # Errors
/// [`Problems`] when there is nothing to export or the output is taken; or why it could not be
/// written.
pub fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let ExportFormat::Peft = args.format;
    let (best, merge) = (args.best == Some(true), args.merge == Some(true));
    let trained = TrainedModel::of_run(&args.run.folder, best).map_err(Problems::with_input)?;
    if let Some(reason) = trained.base_is_nowhere().filter(|_| !merge) {
        return Err(Problems::with_input(reason).into());
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| default_out(&args.run.folder, best, merge));
    require_empty(&out).map_err(Problems::with_input)?;
    write_whole(&out, |folder| match merge {
        true => trained.write_merged(folder),
        false => trained.write_adapter(folder),
    })
    .with_context(|| format!("nothing was exported to {}", out.display()))?;
    print_line(format_args!("exported to {}", out.display()));
    if trained.changes_base() && !merge {
        print_line(
            "aggregation changed base weights: README.md in the folder explains how to \
             apply base_delta.safetensors; --merge writes the whole model",
        );
    }
    Ok(())
}

fn default_out(run: &Path, best: bool, merge: bool) -> PathBuf {
    let name = if merge { "merged" } else { "peft" };
    let best = if best { "-best" } else { "" };
    run.join(format!("{name}{best}"))
}

fn require_empty(out: &Path) -> Result<(), String> {
    let place = out.display();
    match out.read_dir().map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "{place} is not empty; name another folder with --out, or empty it"
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{place}: {error}; name a folder with --out")),
    }
}

/// Writes a folder next to its place and renames it there, so that it is complete or absent.
fn write_whole(
    out: &Path,
    write: impl FnOnce(&Path) -> Result<(), ExportError>,
) -> anyhow::Result<()> {
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_folder(parent)?;
    let staging = tempfile::Builder::new()
        .prefix(".export-")
        .tempdir_in(parent)?;
    let whole = staging.path().join("whole");
    std::fs::create_dir(&whole)?;
    write(&whole)?;
    std::fs::rename(&whole, out)?;
    Ok(())
}
