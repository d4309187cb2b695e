//! A task on the user's own files: its table, and the flags over it, become what reads them.

mod form;
mod instruct;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::machine::Host;
use crate::config::problems::Problems;
use crate::config::resolve::{Resolver, is_usable_as_name, is_usable_in_names};
use crate::config::settings::Settings;
use crate::config::tables::task::{TaskKind, TaskTable, TextList};
use crate::data::error::DataError;
use crate::data::formats::records::RecordFormat;
use crate::model::objective::Objective;
use crate::tasks::custom::form::ExampleForm;
use crate::tasks::custom::{CustomTask, SplitFiles, metrics, predictions};
use crate::tasks::metrics::info::MetricInfo;
use crate::tasks::registry;
use crate::tasks::{SharedTask, Task};

/// The share that is held out unless another is given.
const HOLDOUT: f64 = 0.1;

/// The flags that stand for keys of `[task]`.
const FLAGS: [&str; 7] = [
    "text", "text2", "label", "kind", "prompt", "answer", "holdout",
];

/// The task of a table that leaves nothing to be decided; `None` if it does not describe one.
pub(crate) fn recorded(mut table: TaskTable) -> Option<SharedTask> {
    let machine = Host::default();
    let mut resolver = Resolver {
        settings: Settings::default(),
        problems: Problems::default(),
        machine: &machine,
        notices: Vec::new(),
    };
    // Without a folder no file is read: a recorded table names its labels.
    let task = resolver.own_task(&mut table, None);
    task.filter(|_| resolver.problems.is_empty())
}

impl Resolver<'_> {
    /// Refuses the flags of own data for a task that the program knows.
    pub(crate) fn reject_own_data(&mut self, task: &dyn Task) {
        for key in FLAGS {
            let with = format_args!("{task}, whose columns are known; it goes with --task FILE");
            self.reject_unused(key, with);
        }
    }

    /// The task of a table. All that is decided is written into the table, also the labels of the
    /// training files if it names none. Paths that are not absolute are taken from `folder`; without
    /// one no file is read. `None` when a problem was reported, or labels would have to be read.
    pub(crate) fn own_task(
        &mut self,
        table: &mut TaskTable,
        folder: Option<&Path>,
    ) -> Option<SharedTask> {
        self.lay_flags_over(table);
        if table.kind == Some(TaskKind::Instruct) {
            return self.own_instructions(table, folder);
        }
        if table.template.is_some() {
            let wrong = "has a meaning only with kind = \"instruct\"; give `prompt`, or omit it";
            self.report_own("template", wrong);
        }
        let files = self.own_files(table);
        let holdout = self.holdout(table);
        let form = self.form(table, files.as_ref().zip(folder));
        let name = self.own_name(table);
        let (files, form) = (files?, form?);
        self.require_own_id_column(table, &form)?;
        let mut task = CustomTask {
            name: name?,
            files,
            holdout,
            id: table.id.clone(),
            form,
            metrics: Vec::new(),
        };
        task.metrics = self.own_metrics(table, &task.objective())?;
        Some(SharedTask(Arc::new(task)))
    }

    /// The key under which the user gave what a table has: a flag's, or one in the table.
    fn own_key(&self, key: &str) -> String {
        let is_flag = FLAGS.contains(&key) && self.problems.origins().given(key);
        let in_table = format!("task.{key}");
        match is_flag {
            true => key.to_owned(),
            false if self.problems.origins().given(&in_table) => in_table,
            false if self.problems.origins().given("task") => "task".to_owned(),
            false => in_table,
        }
    }

    fn report_own(&mut self, key: &str, error: impl std::fmt::Display) {
        let key = self.own_key(key);
        self.problems.report_error(&key, error);
    }

    fn lay_flags_over(&mut self, table: &mut TaskTable) {
        let settings = &mut self.settings;
        table.text = settings.text.take().or(table.text.take());
        table.text2 = settings.text2.take().or(table.text2.take());
        table.kind = settings.kind.take().or(table.kind);
        table.prompt = settings.prompt.take().or(table.prompt.take());
        table.answer = settings.answer.take().or(table.answer.take());
        table.holdout = settings.holdout.take().or(table.holdout);
        if let Some(label) = settings.label.take() {
            table.label = Some(TextList(vec![label]));
        }
    }

    /// The files, all of known formats. Whether they exist is seen when they are read, for a run can
    /// be reported on without its data.
    fn own_files(&mut self, table: &TaskTable) -> Option<SplitFiles> {
        let mut sound = true;
        let mut of = |key: &str, list: &Option<TextList>| -> Vec<PathBuf> {
            let files = list.iter().flat_map(|list| &list.0).map(PathBuf::from);
            let files: Vec<PathBuf> = files.collect();
            if list.is_some() && files.is_empty() {
                self.report_own(key, "names no file; name one, or omit it");
                sound = false;
            }
            for path in files.iter().filter(|it| RecordFormat::of(it).is_none()) {
                let path = path.clone();
                self.report_own(key, DataError::UnknownFormat { path });
                sound = false;
            }
            files
        };
        let files = SplitFiles {
            train: of("train", &table.train),
            validation: of("validation", &table.validation),
            test: of("test", &table.test),
        };
        if table.train.is_none() && self.problems.readable(&["task.train"]) {
            self.report_own("train", "lacks `train`; name a file to train on");
            sound = false;
        }
        sound.then_some(files)
    }

    /// Refuses a column of ids that has the name of one of the predictions' own.
    fn require_own_id_column(&mut self, table: &TaskTable, form: &ExampleForm) -> Option<()> {
        let (Some(id), Some(_)) = (&table.id, &table.test) else {
            return Some(());
        };
        if !predictions::columns(form).contains(&id.as_str()) {
            return Some(());
        }
        let wrong = format!(
            "predictions for the test split have a column `{id}` of their own; rename the column of \
             ids in your files"
        );
        self.report_own("id", wrong);
        None
    }

    /// The share that is held out. Where it is the default, the user is told.
    fn holdout(&mut self, table: &mut TaskTable) -> Option<f64> {
        if table.validation.is_some() {
            if table.holdout.is_some() {
                let wrong = "there are files for validation too; give one of the two";
                self.report_own("holdout", wrong);
            }
            return None;
        }
        let share = *table.holdout.get_or_insert_with(|| {
            self.notices.push(format!(
                "no files for validation: {} % of the training examples are held out, by the hash of \
                 their texts",
                HOLDOUT * 100.0
            ));
            HOLDOUT
        });
        if !(share > 0.0 && share < 1.0) {
            self.report_own(
                "holdout",
                "out of range; give a number above 0 to less than 1",
            );
        }
        Some(share)
    }

    /// The name, or that of the first training file.
    fn own_name(&mut self, table: &mut TaskTable) -> Option<String> {
        if table.name.is_none() {
            let first = table.train.as_ref().and_then(|list| list.0.first())?;
            let stem = Path::new(first).file_stem().unwrap_or_default();
            let stem = stem
                .to_string_lossy()
                .replace(|c| !is_usable_in_names(c), "-");
            table.name = Some(match registry::find(&stem) {
                Ok(_) => format!("own-{stem}"),
                Err(_) if stem.starts_with('.') => format!("own{stem}"),
                Err(_) => stem,
            });
        }
        let name = table.name.clone()?;
        let wrong = if !is_usable_as_name(&name) {
            "not usable in a file's name; use letters, digits, `-`, `_` and `.`"
        } else if registry::find(&name).is_ok() {
            "a known task has this name; give another"
        } else {
            return Some(name);
        };
        self.report_own("name", wrong);
        None
    }

    fn own_metrics(
        &mut self,
        table: &mut TaskTable,
        objective: &Objective,
    ) -> Option<Vec<MetricInfo>> {
        let Some(names) = &table.metrics else {
            let chosen = metrics::default(objective);
            // A text is scored by all metrics that there are, so there is nothing to record.
            if *objective != Objective::NextToken {
                let names = chosen.iter().map(|metric| metric.name.to_owned());
                table.metrics = Some(TextList(names.collect()));
            }
            return Some(chosen);
        };
        metrics::chosen(objective, &names.0)
            .map_err(|wrong| self.report_own("metrics", wrong))
            .ok()
    }
}
