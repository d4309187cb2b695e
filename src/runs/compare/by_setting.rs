//! A score by a setting that runs vary, such as the learning rate: a line for each method, and a
//! chart for each combination of whatever else is varied.

use std::collections::BTreeSet;

use plotters::style::Color;
use toml::{Table, Value};

use crate::config::settings::Settings;
use crate::runs::compare::groups::{Group, Mean, brief_labels, metrics};
use crate::runs::compare::paired::{METHOD, settings_of, without_defaults};
use crate::runs::figures::Figure;
use crate::runs::figures::chart::{Band, Chart, Curve, draw_together};
use crate::runs::figures::theme::{colour, dashed};

/// The least ratio of values that are shown on a logarithmic axis.
const WIDE: f64 = 5.0;

/// Groups that differ in the swept setting alone.
struct Line<'a> {
    /// What they agree in beside the method, without settings that have their defaults.
    others: Table,
    /// The same settings, as the first of them states them.
    stated: Table,
    method: String,
    /// The groups, each with its value of the setting.
    groups: Vec<(f64, &'a Group<'a>)>,
}

/// A figure for each number among the settings of which a method has several values.
///
/// # Errors
/// If one cannot be drawn.
pub fn figures(groups: &[Group<'_>], score: &str) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for setting in numbers(groups) {
        let lines = lines(groups, &setting);
        if lines.iter().any(|line| line.groups.len() > 1) {
            figures.extend(figure(groups, &setting, &lines, score)?);
        }
    }
    Ok(figures)
}

/// The settings that are numbers.
fn numbers(groups: &[Group<'_>]) -> BTreeSet<String> {
    let settings = groups
        .iter()
        .flat_map(|group| settings_of(group).into_iter());
    // The figure's file is named after the setting, and a damaged scenario may have keys that are not
    // fit for file names.
    let known = settings.filter(|(key, _)| Settings::default_text_of(key).is_some());
    let numbers = known.filter(|(_, value)| number(value).is_some());
    numbers.map(|(key, _)| key).collect()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn lines<'a>(groups: &'a [Group<'a>], setting: &str) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for group in groups {
        let mut settings = settings_of(group);
        let Some(value) = settings.remove(setting).as_ref().and_then(number) else {
            continue;
        };
        let method = settings.remove(METHOD);
        let method = method
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or("all runs");
        let others = without_defaults(settings.clone());
        let same = |line: &&mut Line<'_>| line.others == others && line.method == method;
        match lines.iter_mut().find(same) {
            Some(line) => line.groups.push((value, group)),
            None => lines.push(Line {
                method: method.to_owned(),
                others,
                stated: settings,
                groups: vec![(value, group)],
            }),
        }
    }
    lines
}

fn figure(
    groups: &[Group<'_>],
    setting: &str,
    lines: &[Line<'_>],
    score: &str,
) -> anyhow::Result<Option<Figure>> {
    let mut panels: Vec<&Line<'_>> = Vec::new();
    let mut methods: Vec<&str> = Vec::new();
    for line in lines {
        if !panels.iter().any(|panel| panel.others == line.others) {
            panels.push(line);
        }
        if !methods.contains(&line.method.as_str()) {
            methods.push(&line.method);
        }
    }
    let metrics = metrics(groups);
    let stated: Vec<&Table> = panels.iter().map(|panel| &panel.stated).collect();
    let charts = panels
        .iter()
        .zip(brief_labels(&stated))
        .map(|(panel, title)| {
            let mut chart = Chart {
                title,
                x: Some(setting.to_owned()),
                y: metrics.title(score),
                ..Chart::default()
            };
            for line in lines.iter().filter(|line| line.others == panel.others) {
                let index = methods.iter().position(|method| *method == line.method);
                add_line(&mut chart, line, index.unwrap_or(0), score);
            }
            with_ticks(chart)
        });
    let mut named = metrics.title(score);
    named.get_mut(..1).map(str::make_ascii_uppercase);
    let lower = match metrics.less_is_better(score) {
        true => "; lower is better",
        false => "",
    };
    let caption = format!(
        "{named} on validation after the last round by {setting}{lower}; means over seeds, with bands \
         of one sample standard deviation."
    );
    draw_together(&format!("score_by_{setting}"), caption, charts.collect())
}

fn add_line(chart: &mut Chart, line: &Line<'_>, index: usize, score: &str) {
    let mean = |(value, group): &(f64, &Group<'_>)| {
        let scores = group.runs.iter().filter_map(|run| run.last_score(score));
        Some((*value, Mean::of(&scores.collect::<Vec<_>>())?))
    };
    let mut means: Vec<(f64, Mean)> = line.groups.iter().filter_map(mean).collect();
    means.sort_by(|a, b| a.0.total_cmp(&b.0));
    let band = means.iter().filter_map(|(value, mean)| {
        let deviation = mean.deviation?;
        Some((*value, mean.mean - deviation, mean.mean + deviation))
    });
    chart.bands.push(Band {
        name: None,
        points: band.collect(),
        colour: colour(index).mix(0.12),
    });
    let points = means.iter().map(|(value, mean)| (*value, mean.mean));
    chart.curves.push(Curve {
        dashed: dashed(index),
        ..Curve::new(line.method.clone(), colour(index), points.collect())
    });
}

/// The chart with a tick at each value, on a logarithmic axis if they are positive and far apart.
fn with_ticks(mut chart: Chart) -> Chart {
    let points = chart.curves.iter().flat_map(|curve| &curve.points);
    let mut values: Vec<f64> = points.map(|(x, _)| *x).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    if let (Some(least), Some(most)) = (values.first(), values.last()) {
        chart.log_x = *least > 0.0 && *most >= WIDE * *least;
    }
    chart.x_ticks = values;
    chart
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::compare::Compared;
    use crate::runs::compare::groups::group;
    use crate::runs::compare::samples::run;

    fn runs(rates: &[f64], partitions: &[&str]) -> Vec<Compared> {
        let mut runs = Vec::new();
        for method in ["fedit", "fedex"] {
            for (lr, partition) in rates
                .iter()
                .flat_map(|lr| partitions.iter().map(move |p| (lr, p)))
            {
                let settings = format!(
                    "agg_type = \"{method}\"\nlr = {lr}\npartition = \"{partition}\"\nseed = 1\nr = 8"
                );
                runs.push(run(&settings, &[0.5, 0.5 + lr]));
            }
        }
        runs
    }

    #[test]
    fn a_number_with_several_values_has_a_figure_with_a_line_for_each_method() {
        let runs = runs(&[0.001, 0.003, 0.01], &["iid"]);
        let drawn = figures(&group(&runs), "accuracy").unwrap();
        let names: Vec<&str> = drawn.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["score_by_lr"]);
        for text in ["1e-3", "3e-3", "1e-2", "fedit", "fedex"] {
            assert!(
                drawn[0].svg.contains(&format!("{text}\n")),
                "{text}: {}",
                drawn[0].svg
            );
        }
    }

    #[test]
    fn what_else_is_varied_has_a_chart_each() {
        let runs = runs(&[0.001, 0.01], &["iid", "classes(1)"]);
        let drawn = figures(&group(&runs), "accuracy").unwrap();
        assert!(
            drawn[0].svg.contains("partition classes(1)"),
            "{}",
            drawn[0].svg
        );
    }

    #[test]
    fn what_is_no_setting_has_no_figure() {
        let settings = |value| format!("agg_type = \"fedit\"\nseed = 1\n\"../x\" = {value}");
        let runs = [run(&settings(1), &[0.5]), run(&settings(2), &[0.5])];
        assert!(figures(&group(&runs), "accuracy").unwrap().is_empty());
    }

    #[test]
    fn without_several_values_there_is_no_figure() {
        let one = runs(&[0.001], &["iid"]);
        assert!(figures(&group(&one), "accuracy").unwrap().is_empty());
        // Each method has a value of its own.
        let settings = |method, lr| format!("agg_type = \"{method}\"\nlr = {lr}\nseed = 1");
        let own = [
            run(&settings("fedit", 0.1), &[0.5]),
            run(&settings("fedex", 0.2), &[0.5]),
        ];
        assert!(figures(&group(&own), "accuracy").unwrap().is_empty());
    }
}
