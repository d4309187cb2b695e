//! GLUE's nine tasks (Wang et al., *GLUE: A Multi-Task Benchmark and Analysis Platform for Natural
//! Language Understanding*, 2019).
//!
//! * [`task`]: their names, splits, classes and metrics, from the table in `spec`.
//! * [`source`]: a task's files in a folder, read into splits.
//! * `hub`: that folder, fetched from the hub.
//! * [`submission`]: predictions as GLUE's server takes them.

pub mod hub;
pub mod source;
pub(crate) mod spec;
pub mod submission;
pub mod task;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::base::hub_error::HubError;
use crate::data::error::DataError;
use crate::data::split::Split;
use crate::model::objective::Objective;
use crate::tasks::glue::submission::write_submission;
use crate::tasks::glue::task::GlueTask;
use crate::tasks::metrics::classification;
use crate::tasks::{LabelTask, MetricInfo, Outputs, ReadOptions, Task, TaskData};

impl Task for GlueTask {
    fn name(&self) -> &str {
        self.spec().name
    }

    /// Either spelling (`sst2`, `SST-2`), in any case.
    fn is_called(&self, name: &str) -> bool {
        let spec = self.spec();
        name.eq_ignore_ascii_case(spec.name) || name.eq_ignore_ascii_case(spec.glue_name)
    }

    fn objective(&self) -> Objective {
        match self.spec().label_names {
            [] => Objective::Score,
            names => Objective::Classes(names.iter().map(|&name| name.to_owned()).collect()),
        }
    }

    /// Those of STS-B.
    fn whole_scores(&self) -> Option<RangeInclusive<i64>> {
        self.is_regression().then_some(0..=5)
    }

    fn metrics(&self) -> &[MetricInfo] {
        self.metric_rows()
    }

    fn locate(&self, dir: &Path) -> Result<PathBuf, DataError> {
        Ok(source::locate(*self, dir)?.folder)
    }

    fn fetch(&self) -> Result<PathBuf, HubError> {
        hub::fetch(*self)
    }

    fn read(&self, dir: &Path, options: &ReadOptions) -> Result<TaskData, DataError> {
        source::load_with(*self, dir, options)
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs::Labels(self)
    }
}

impl LabelTask for GlueTask {
    /// What does not answer predicts no class, whichever it is counted as: its scores are NaN.
    fn score(&self, outputs: &[f32], labels: &[f32]) -> BTreeMap<String, f64> {
        let predictions = classification::predictions(&self.objective(), outputs);
        let answers = !outputs.iter().any(|output| output.is_nan());
        let score = |metric: &MetricInfo| {
            let value = classification::score(metric.name, &predictions, labels);
            let value = if answers { value } else { f64::NAN };
            (metric.name.to_owned(), value)
        };
        self.metrics().iter().map(score).collect()
    }

    fn write_predictions(
        &self,
        outputs: &[f32],
        split: &Split,
        folder: &Path,
    ) -> Result<(), DataError> {
        let predictions = classification::predictions(&self.objective(), outputs);
        write_submission(*self, split.name(), split.ids(), &predictions, folder)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_are_not_numbers_score_nothing() {
        let accuracy = |outputs: &[f32]| GlueTask::Sst2.score(outputs, &[0.0, 1.0])["accuracy"];
        assert_eq!(accuracy(&[1.0, 0.0, 0.0, 1.0]), 1.0);
        assert!(accuracy(&[1.0, 0.0, f32::NAN, 1.0]).is_nan());
    }
}
