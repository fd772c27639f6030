//! One plot as SVG: both axes logarithmic, a line for each curve, told apart by colour and by mark.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::rows::curves::{Curve, Plot};

/// Colours that people with any eyesight can tell apart; ours comes first.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(90, 90, 90)];
const SIZE: (u32, u32) = (760, 460);
const FONT: &str = "sans-serif";

pub(super) fn draw(path: &Path, plot: &Plot, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let points = || curves.iter().flat_map(|curve| curve.points.iter());
    let least_x = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let most_x = points().map(|point| point.0).fold(0.0, f64::max);
    let least_y = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let most_y = points().map(|point| point.1).fold(0.0, f64::max);

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(plot.title, (FONT, 18))
        .margin(14)
        .margin_right(44)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (least_x * 0.9..most_x * 1.1).log_scale(),
            (decade(least_y, f64::floor)..decade(most_y, f64::ceil)).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(plot.across)
        .y_desc(plot.up)
        .x_label_formatter(&|value| thousands(*value))
        .y_label_formatter(&|value| thousands(*value))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let line = colour.stroke_width(if index == 0 { 3 } else { 2 });
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), line))?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], line));
        match index {
            0 => chart.draw_series(curve.points.iter().map(|&point| Circle::new(point, 4, colour.filled())))?,
            1 => chart.draw_series(curve.points.iter().map(|&point| TriangleMarker::new(point, 6, colour.filled())))?,
            _ => chart.draw_series(curve.points.iter().map(|&point| Cross::new(point, 5, line)))?,
        };
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 14))
        .draw()?;
    root.present()?;
    Ok(())
}

/// The decade below or above, so that an axis always has something to read off.
fn decade(value: f64, round: fn(f64) -> f64) -> f64 {
    10f64.powf(round(value.log10()))
}

/// `10`, `1,000`, `1,000,000`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Curve, Plot, draw, thousands};

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([10.0, 1_000.0, 1_000_000.0].map(thousands), ["10", "1,000", "1,000,000"]);
    }

    #[test]
    fn a_plot_names_its_curves_and_axes() {
        let folder = std::env::temp_dir().join(format!("machinery-plots-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let path = folder.join("plot.svg");
        let plot =
            Plot { file: "plot.svg", title: "a title", across: "sources", up: "ns an item", sizes: &[], sides: vec![] };
        let curves = ["ours", "theirs"].map(|name| Curve { name, points: vec![(10.0, 50.0), (1_000.0, 70.0)] });
        draw(&path, &plot, &curves).expect("it can be drawn");
        let text = std::fs::read_to_string(&path).expect("it was written");
        std::fs::remove_dir_all(&folder).expect("the folder can be removed");
        for part in ["a title", "sources", "ns an item", "ours", "theirs", "1,000"] {
            assert!(text.contains(part), "{part} is missing from {text}");
        }
    }
}
