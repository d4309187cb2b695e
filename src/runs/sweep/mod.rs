//! A sweep: its combinations as runs, each in a process and a separate folder.
//!
//! A run's folder has a name that follows from its settings alone, so a sweep that is started
//! again finds what it has: finished runs are kept, the others are resumed. The method counts in
//! that name as it was first called, so that runs from before it was renamed are found too.

pub mod choose;
pub mod file;
pub mod planned;
pub mod process;
pub mod slurm;
pub mod stop;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::aggregate::methods;
use crate::base::machine::Host;
use crate::config::load;
use crate::config::problems::Problems;
use crate::config::setting::flag_value;
use crate::config::settings::Settings;
use crate::runs::compare::target::Target;
use crate::runs::sweep::choose::{PlannedCandidate, PlannedChoice};
use crate::runs::sweep::file::Sweep;
use crate::runs::sweep::planned::Planned;

/// A sweep that is found to be sound.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepPlan {
    /// Its name.
    pub name: String,
    /// The folder of its runs.
    pub out: PathBuf,
    /// The score to reach.
    pub target: Option<Target>,
    /// Its runs. Where a value is chosen first, those of all values.
    pub runs: Vec<Planned>,
    /// The choices to be made first, if any.
    pub choices: Vec<PlannedChoice>,
}

/// The folder of a sweep's trials, in that of its runs.
pub const TRIALS: &str = "trials";

/// Checks every combination as `regatta run` would, and names its folder.
///
/// # Errors
/// What is wrong with any of them, before anything is run.
pub fn plan(sweep: &Sweep, machine: &Host) -> Result<SweepPlan, Problems> {
    let mut problems = Problems::default();
    let out = sweep.out.clone();
    let out = out.unwrap_or_else(|| Path::new("runs").join(&sweep.name));
    let target = match sweep.target.as_deref().map(str::parse).transpose() {
        Ok(target) => target,
        Err(wrong) => {
            problems.report_input(format_args!("target: {wrong}"));
            None
        }
    };
    let common = common(sweep, &mut problems);
    let place = |varied: &toml::Table, out: &Path| {
        let mut settings = sweep.settings.clone();
        settings.extend(varied.clone());
        planned(sweep, varied, settings, &common, out)
    };
    for varied in &sweep.combinations {
        let mut settings = sweep.settings.clone();
        settings.extend(varied.clone());
        if let Err(wrong) = check(sweep, &settings, machine) {
            let label = label(varied);
            for problem in wrong.sorted() {
                problems.report_input(format_args!("{label}: {problem}"));
            }
        }
    }
    // Of trials and chosen runs nothing else can be wrong: only the seed is another.
    let trials = out.join(TRIALS);
    let all =
        |varied: &[toml::Table], out: &Path| varied.iter().map(|one| place(one, out)).collect();
    let choices = sweep.choices.iter().map(|choice| PlannedChoice {
        label: choice.label.clone(),
        candidates: choice
            .candidates
            .iter()
            .map(|candidate| PlannedCandidate {
                value: candidate.value.clone(),
                trials: all(&candidate.trials, &trials),
                runs: all(&candidate.runs, &out),
            })
            .collect(),
    });
    let (runs, choices) = (all(&sweep.combinations, &out), choices.collect());
    problems.into_result(SweepPlan {
        name: sweep.name.clone(),
        out,
        target,
        runs,
        choices,
    })
}

/// The scenario's settings and tables.
fn common(sweep: &Sweep, problems: &mut Problems) -> toml::Table {
    let Some(path) = &sweep.scenario else {
        return toml::Table::new();
    };
    let text = std::fs::read_to_string(path);
    if let Err(error) = &text {
        let right = "name a scenario file (paths are taken from the current directory)";
        problems.report_input(format_args!(
            "scenario: {}: {error}; {right}",
            path.display()
        ));
    }
    // What is wrong in it is reported by the check of each run.
    text.ok()
        .and_then(|text| toml::from_str(&text).ok())
        .unwrap_or_default()
}

fn check(sweep: &Sweep, settings: &toml::Table, machine: &Host) -> Result<(), Problems> {
    let flags: Settings = settings
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| {
            let mut problems = Problems::default();
            problems.report_input(error.message());
            problems
        })?;
    load(sweep.scenario.as_deref(), &flags, machine).map(drop)
}

fn planned(
    sweep: &Sweep,
    varied: &toml::Table,
    settings: toml::Table,
    common: &toml::Table,
    out: &Path,
) -> Planned {
    let mut all = common.clone();
    all.extend(settings.clone());
    all.retain(|key, _| !["name", "out"].contains(&key));
    // A TOML table is written in the order of its keys.
    let digest = blake3::hash(by_first_name(&all).to_string().as_bytes()).to_hex();
    let at = |label: &str| out.join(format!("{label}-{}", &digest[..8]));
    // Where the sweep was begun before its method was renamed, its folders have the first name.
    let older = label(&by_first_name(varied));
    let label = match at(&older).is_dir() {
        true => older,
        false => label(varied),
    };
    let folder = at(&label);
    let mut arguments: Vec<OsString> = vec!["run".into()];
    for (key, value) in &settings {
        arguments.push(format!("--{key}={}", flag_value(value)).into());
    }
    arguments.push(format!("--name={label}").into());
    let mut out = OsString::from("--out=");
    out.push(&folder);
    arguments.push(out);
    // Behind this, nothing is taken for a flag.
    arguments.push("--".into());
    arguments.extend(sweep.scenario.as_ref().map(OsString::from));
    Planned {
        label,
        folder,
        arguments,
    }
}

/// Settings with the method as it was first called.
fn by_first_name(settings: &toml::Table) -> toml::Table {
    let mut settings = settings.clone();
    if let Some(method) = settings.get_mut("agg_type")
        && let Some(info) = method.as_str().and_then(methods::find)
    {
        *method = info.first_name().into();
    }
    settings
}

/// What a combination varies, as a folder's name.
fn label(varied: &toml::Table) -> String {
    let part = |(key, value): (&String, &toml::Value)| match key.as_str() {
        "agg_type" | "adapter" | "task" => flag_value(value),
        key => format!("{key}{}", flag_value(value)),
    };
    let label = varied.iter().map(part).collect::<Vec<_>>().join("-");
    let usable = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let label = label.replace(|c| !usable(c), "-");
    // Long enough to distinguish them; the digest after it does so anyway.
    label.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(combinations: &[&str]) -> Sweep {
        Sweep {
            name: "s".into(),
            combinations: combinations
                .iter()
                .map(|text| toml::from_str(text).unwrap())
                .collect(),
            ..Sweep::default()
        }
    }

    #[test]
    fn folders_follow_from_settings_alone() {
        let of = |combinations: &[&str]| plan(&sweep(combinations), &Host::cpu(1)).unwrap().runs;
        let both = of(&[
            "agg_type = \"fedex\"\nseed = 1",
            "agg_type = \"fedex\"\nseed = 2",
        ]);
        let one = of(&["seed = 2\nagg_type = \"fedex\""]);
        assert_eq!(both[1], one[0]);
        assert_ne!(both[0].folder, both[1].folder);
        let name = both[0].folder.display().to_string();
        assert!(name.starts_with("runs/s/fedex-seed1-"), "{name}");
    }

    #[test]
    fn folders_of_a_sweep_with_a_methods_first_name_are_found_however_it_is_spelled() {
        let place = tempfile::tempdir().unwrap();
        let planned = |name: &str| {
            let sweep = Sweep {
                out: Some(place.path().to_owned()),
                ..sweep(&[&format!("agg_type = \"{name}\"\nseed = 1")])
            };
            plan(&sweep, &Host::cpu(1)).unwrap().runs.remove(0)
        };
        assert_eq!(planned("fedex").label, "fedex-seed1");
        // As it was named when the method was called so.
        let written = blake3::hash(b"agg_type = \"ours\"\nseed = 1\n").to_hex();
        let older = place.path().join(format!("ours-seed1-{}", &written[..8]));
        std::fs::create_dir(&older).unwrap();
        for name in ["ours", "fedex"] {
            let run = planned(name);
            assert_eq!((run.label.as_str(), &run.folder), ("ours-seed1", &older));
        }
    }

    #[test]
    fn the_study_of_exactness_is_a_sweep_whose_trials_have_their_own_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = root.join("scenarios/studies/exactness.toml");
        let plan = plan(&file::read(&file).unwrap(), &Host::cpu(2)).unwrap();
        assert_eq!(plan.choices.len(), 16);
        let candidates = plan.choices.iter().flat_map(|choice| &choice.candidates);
        let trials: Vec<_> = candidates.flat_map(|one| &one.trials).collect();
        assert_eq!(trials.len(), 112);
        let apart = |run: &&Planned| run.folder.starts_with("runs/exactness/trials");
        assert!(trials.iter().all(|trial| apart(&&**trial)));
        assert!(!plan.runs.iter().any(|run| apart(&run)));
        let chosen = plan
            .choices
            .iter()
            .map(|choice| choice.candidates[0].runs.len());
        assert_eq!(chosen.sum::<usize>(), 80);
        let labels: std::collections::BTreeSet<_> =
            plan.choices.iter().map(|choice| &choice.label).collect();
        assert_eq!(labels.len(), 16);
    }

    #[test]
    fn the_study_of_the_residual_is_a_sweep_of_36_runs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = root.join("scenarios/studies/residual.toml");
        let plan = plan(&file::read(&file).unwrap(), &Host::cpu(2)).unwrap();
        assert_eq!((plan.choices.len(), plan.runs.len()), (0, 36));
    }

    #[test]
    fn combinations_that_cannot_be_are_reported_together_before_anything_runs() {
        let combinations = [
            "agg_type = \"ours_vera\"\nadapter = \"lora\"",
            "agg_type = \"ours\"",
            "agg_type = \"ours\"\nr = 0",
        ];
        let problems = plan(&sweep(&combinations), &Host::cpu(1))
            .unwrap_err()
            .to_string();
        assert!(problems.contains("error: lora-ours_vera: --"), "{problems}");
        assert!(problems.contains("error: ours-r0: --r=0: "), "{problems}");
        assert_eq!(problems.lines().count(), 2, "{problems}");
    }
}
