//! A task on the user's own files: its table, and the flags over it, become what reads them.

use std::path::{Path, PathBuf};

use crate::base::machine::Host;
use crate::config::problems::Problems;
use crate::config::resolve::Resolver;
use crate::config::settings::Settings;
use crate::config::tables::task::{TaskKind, TaskTable, TextList};
use crate::data::error::DataError;
use crate::data::formats::records::RecordFormat;
use crate::model::objective::Objective;
use crate::tasks::Task;
use crate::tasks::custom::form::{
    AnsweredForm, ExampleForm, LabelNames, LabelRule, LabelledForm, SetSpelling,
};
use crate::tasks::custom::template::Template;
use crate::tasks::custom::{CustomTask, SplitFiles, labels, metrics};
use crate::tasks::registry;

/// The share that is held out where nothing is said.
const HOLDOUT: f64 = 0.1;
/// What is between labels where nothing is said.
const SEPARATOR: &str = "|";

/// The flags that say what `[task]` may say.
const FLAGS: [&str; 7] = [
    "text", "text2", "label", "kind", "prompt", "answer", "holdout",
];
/// The keys of each form of example.
const LABELLED: [&str; 6] = [
    "text",
    "text2",
    "label",
    "separator",
    "labels",
    "label_names",
];
const ANSWERED: [&str; 2] = ["prompt", "answer"];

/// The task of a table in which everything is said; `None` if that is not so.
pub(crate) fn recorded(mut table: TaskTable) -> Option<CustomTask> {
    let machine = Host::default();
    let mut resolver = Resolver {
        settings: Settings::default(),
        problems: Problems::default(),
        machine: &machine,
        notices: Vec::new(),
    };
    // A column's labels are looked for nowhere.
    let task = resolver.own_task(&mut table, None);
    task.filter(|_| resolver.problems.is_empty())
}

impl Resolver<'_> {
    /// Refuses the flags of own data for a task that has a name.
    pub(crate) fn reject_own_data(&mut self, task: &dyn Task) {
        for key in FLAGS {
            let with = format_args!("{task}, whose columns are known; it goes with --task FILE");
            self.reject_unused(key, with);
        }
    }

    /// The task of a table, in which everything is then said: also the labels that its training
    /// files have, if it names none. Paths that are not absolute are taken from `folder`; without
    /// one no file is read. `None` when a problem was reported.
    pub(crate) fn own_task(
        &mut self,
        table: &mut TaskTable,
        folder: Option<&Path>,
    ) -> Option<CustomTask> {
        self.lay_flags_over(table);
        let files = self.own_files(table);
        let holdout = self.holdout(table);
        let form = self.form(table, files.as_ref().zip(folder));
        let name = self.own_name(table);
        let (files, form) = (files?, form?);
        let mut task = CustomTask {
            name: name?,
            files,
            holdout,
            id: table.id.clone(),
            form,
            metrics: Vec::new(),
        };
        task.metrics = self.own_metrics(table, &task.objective())?;
        Some(task)
    }

    /// The key under which a user looks for what a table has: the flag, where there is one.
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

    /// The files, all of known formats. Whether they are there is seen when they are read: a run is
    /// reported on without its data.
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

    fn form(
        &mut self,
        table: &mut TaskTable,
        files: Option<(&SplitFiles, &Path)>,
    ) -> Option<ExampleForm> {
        let answered = table.prompt.is_some() || table.answer.is_some();
        let kind = *table.kind.get_or_insert(match answered {
            true => TaskKind::NextToken,
            false => TaskKind::Classes,
        });
        let (without, given) = match kind {
            TaskKind::NextToken => (&LABELLED[..], given_keys(table)),
            _ => (&ANSWERED[..], given_keys(table)),
        };
        let mut sound = true;
        for key in without.iter().filter(|key| given.contains(key)) {
            self.report_own(
                key,
                format_args!("has no meaning with kind = \"{kind}\"; omit it"),
            );
            sound = false;
        }
        let form = match kind {
            TaskKind::NextToken => self.answered(table).map(ExampleForm::Answered),
            _ => self.labelled(kind, table, files).map(ExampleForm::Labelled),
        };
        form.filter(|_| sound)
    }

    fn needed_column(&mut self, key: &str, value: &Option<String>, what: &str) -> Option<String> {
        if value.is_none() && self.problems.readable(&[&format!("task.{key}")]) {
            let flag = format!("--{key}");
            self.report_own(
                key,
                format_args!("lacks `{key}`; name the column of {what}, with {flag} or in [task]"),
            );
        }
        value.clone()
    }

    fn labelled(
        &mut self,
        kind: TaskKind,
        table: &mut TaskTable,
        files: Option<(&SplitFiles, &Path)>,
    ) -> Option<LabelledForm> {
        let text = self.needed_column("text", &table.text, "the text");
        let first = table
            .label
            .as_ref()
            .and_then(|list| list.0.first().cloned());
        let first = self.needed_column("label", &first, "the label");
        let label = table.label.clone().unwrap_or_default().0;
        if label.len() > 1 && kind != TaskKind::Multilabel {
            let wrong =
                "several columns hold labels of kind = \"multilabel\"; name one, or give it";
            self.report_own("label", wrong);
            return None;
        }
        let (text, first) = (text?, first?);
        let rule = match kind {
            TaskKind::Multilabel => self.several(table, &label, files)?,
            TaskKind::Score => {
                for (key, given) in [
                    ("labels", table.labels.is_some()),
                    ("label_names", table.label_names.is_some()),
                    ("separator", table.separator.is_some()),
                ] {
                    if given {
                        self.report_own(key, "has no meaning with kind = \"score\"; omit it");
                    }
                }
                LabelRule::Score
            }
            TaskKind::Classes | TaskKind::NextToken => {
                if table.separator.is_some() {
                    let wrong = "has a meaning with kind = \"multilabel\" only; omit it";
                    self.report_own("separator", wrong);
                }
                self.discover(table, &first, None, files)?;
                LabelRule::Class(self.label_names(table)?)
            }
        };
        Some(LabelledForm {
            text,
            text2: table.text2.clone(),
            label,
            rule,
        })
    }

    fn several(
        &mut self,
        table: &mut TaskTable,
        columns: &[String],
        files: Option<(&SplitFiles, &Path)>,
    ) -> Option<LabelRule> {
        let spelling = match columns {
            [column] => {
                let separator = table.separator.get_or_insert_with(|| SEPARATOR.to_owned());
                if separator.is_empty() {
                    self.report_own("separator", "is empty; give what is between labels");
                    return None;
                }
                let separator = separator.clone();
                self.discover(table, column, Some(&separator), files)?;
                SetSpelling::Separated(separator)
            }
            columns => {
                // The recorded table of such a run names its labels.
                let others = table.labels.as_ref().is_some_and(|it| it.0 != columns);
                for (key, given) in [("separator", table.separator.is_some()), ("labels", others)] {
                    if given {
                        let wrong = "has no meaning where each label has a column, by whose name it \
                                     is known; omit it";
                        self.report_own(key, wrong);
                    }
                }
                table.labels = Some(TextList(columns.to_vec()));
                SetSpelling::Columns
            }
        };
        Some(LabelRule::Several {
            labels: self.label_names(table)?,
            spelling,
        })
    }

    /// Takes the labels from the training files if none are named.
    fn discover(
        &mut self,
        table: &mut TaskTable,
        column: &str,
        separator: Option<&str>,
        files: Option<(&SplitFiles, &Path)>,
    ) -> Option<()> {
        if table.labels.is_some() || !self.problems.readable(&["task.labels"]) {
            return Some(());
        }
        let (files, folder) = files?;
        let paths: Vec<PathBuf> = files.train.iter().map(|file| folder.join(file)).collect();
        match labels::discover(&paths, column, separator) {
            Ok(found) => table.labels = Some(TextList(found)),
            Err(error) => {
                let key = match error {
                    DataError::MissingColumn { .. } | DataError::MissingKey { .. } => "label",
                    _ => "train",
                };
                self.report_own(key, error);
                return None;
            }
        }
        Some(())
    }

    /// The labels and their names, each once.
    fn label_names(&mut self, table: &TaskTable) -> Option<LabelNames> {
        let values = table.labels.clone().unwrap_or_default().0;
        let names = table.label_names.clone().map_or(values.clone(), |it| it.0);
        let twice = |all: &[String]| {
            let mut seen = all.iter().enumerate();
            let found = seen.find(|(at, label)| all[..*at].contains(label));
            found.map(|(_, label)| label.clone())
        };
        let wrong = if values.len() < 2 {
            Some(("labels", "a task needs two labels or more".to_owned()))
        } else if let Some(label) = twice(&values) {
            Some(("labels", format!("`{label}` is there twice; name it once")))
        } else if let Some(label) = values.iter().find(|it| it.trim() != *it || it.is_empty()) {
            let wrong = format!("{label:?} is empty or has spaces around it, which are not read");
            Some(("labels", wrong))
        } else if let Some(name) = twice(&names) {
            Some((
                "label_names",
                format!("`{name}` is there twice; name each label otherwise"),
            ))
        } else if names.len() != values.len() {
            let wrong = format!(
                "{} names for {} labels; give one each",
                names.len(),
                values.len()
            );
            Some(("label_names", wrong))
        } else {
            None
        };
        match wrong {
            Some((key, wrong)) => {
                self.report_own(key, wrong);
                None
            }
            None => Some(LabelNames { values, names }),
        }
    }

    fn answered(&mut self, table: &TaskTable) -> Option<AnsweredForm> {
        let right = "give a text with columns in braces, such as \"{question} ->\"";
        if table.prompt.is_none() && self.problems.readable(&["task.prompt"]) {
            self.report_own("prompt", format_args!("lacks `prompt`; {right}"));
        }
        let answer = self.needed_column("answer", &table.answer, "the answer");
        let mut template = |key: &str, text: &str| {
            let parsed = text.parse::<Template>();
            let parsed = parsed.and_then(|template| match template.columns().count() {
                0 => Err(format!("names no column; {right}")),
                _ => Ok(template),
            });
            parsed.map_err(|wrong| self.report_own(key, wrong)).ok()
        };
        let prompt = template("prompt", table.prompt.as_ref()?);
        let answer = answer?;
        if !answer.contains('{') {
            return Some(AnsweredForm::with_column(prompt?, &answer));
        }
        let answer = template("answer", &answer);
        Some(AnsweredForm {
            prompt: prompt?,
            answer: answer?,
        })
    }

    /// The name, or that of the first training file.
    fn own_name(&mut self, table: &mut TaskTable) -> Option<String> {
        let usable = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if table.name.is_none() {
            let first = table.train.as_ref().and_then(|list| list.0.first())?;
            let stem = Path::new(first).file_stem().unwrap_or_default();
            let stem = stem.to_string_lossy().replace(|c| !usable(c), "-");
            table.name = Some(match registry::find(&stem) {
                Ok(_) => format!("own-{stem}"),
                Err(_) if stem.starts_with('.') => format!("own{stem}"),
                Err(_) => stem,
            });
        }
        let name = table.name.clone()?;
        let wrong = if name.is_empty() || name.starts_with('.') || !name.chars().all(usable) {
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
    ) -> Option<Vec<crate::tasks::metrics::info::MetricInfo>> {
        let Some(names) = &table.metrics else {
            let chosen = metrics::default(objective);
            // Those of texts are all there are.
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

/// The keys of a table that are given and belong to one form of example.
fn given_keys(table: &TaskTable) -> Vec<&'static str> {
    let given = [
        ("text", table.text.is_some()),
        ("text2", table.text2.is_some()),
        ("label", table.label.is_some()),
        ("separator", table.separator.is_some()),
        ("labels", table.labels.is_some()),
        ("label_names", table.label_names.is_some()),
        ("prompt", table.prompt.is_some()),
        ("answer", table.answer.is_some()),
    ];
    let given = given.into_iter().filter(|(_, given)| *given);
    given.map(|(key, _)| key).collect()
}
