//! All tasks by name.

use std::sync::Arc;

use crate::data::error::DataError;
use crate::tasks::SharedTask;
use crate::tasks::e2e::E2eTask;
use crate::tasks::glue::task::GlueTask;
use crate::tasks::gsm8k::Gsm8kTask;
use crate::tasks::instruct::InstructTask;

/// All tasks.
pub fn all() -> impl Iterator<Item = SharedTask> {
    let glue = GlueTask::ALL.into_iter();
    glue.map(|task| SharedTask(Arc::new(task))).chain([
        SharedTask(Arc::new(E2eTask)),
        SharedTask(Arc::new(Gsm8kTask::default())),
        SharedTask(Arc::new(InstructTask::default())),
    ])
}

/// The task of a run that names none.
#[must_use]
pub fn default() -> SharedTask {
    SharedTask(Arc::new(GlueTask::Cola))
}

/// The task of that name, in any spelling that its files have for it.
///
/// # Errors
/// [`DataError::UnknownTask`], with the names that there are.
pub fn find(name: &str) -> Result<SharedTask, DataError> {
    all().find(|task| task.is_called(name)).ok_or_else(|| {
        let known: Vec<_> = all().map(|task| task.name().to_owned()).collect();
        DataError::UnknownTask {
            found: name.to_owned(),
            known: known.join(", "),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_task_is_found_by_its_name_and_no_two_share_one() {
        let mut names = BTreeSet::new();
        for task in all() {
            assert!(
                names.insert(task.name().to_owned()),
                "{task} is there twice"
            );
            assert!(find(task.name()).unwrap() == task);
            assert!(!task.metrics().is_empty(), "{task}");
        }
        assert!(find("SST-2").unwrap() == find("sst2").unwrap());
    }

    #[test]
    fn an_unknown_task_is_refused_with_the_names_there_are() {
        let message = find("imdb").unwrap_err().to_string();
        assert!(
            message.contains("`imdb`") && message.contains("wnli"),
            "{message}"
        );
    }
}
