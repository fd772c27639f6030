//! Curves: what an item costs as the sources grow in number, and a task as more of them are held.

use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::rows::curves::{self, Curve};

mod draw;

/// Measures every curve of every plot and writes the pictures.
pub(crate) fn all(folder: &Path, quick: bool) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for plot in curves::plots() {
        println!("{}", plot.title);
        let path = folder.join(plot.file);
        let curves: Vec<Curve> = curves::measure(&plot, quick);
        for curve in &curves {
            let points: Vec<String> = curve.points.iter().map(|(x, y)| format!("{x}: {y:.0} ns")).collect();
            println!("  {:<20} {}", curve.name, points.join(", "));
        }
        draw::draw(&path, &plot, &curves).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))?;
        println!("  {}", path.display());
    }
    Ok(())
}
