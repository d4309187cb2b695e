//! What an example of the user's own files is made of, and its labels.

use std::path::{Path, PathBuf};

use crate::config::resolve::Resolver;
use crate::config::tables::task::{TaskKind, TaskTable, TextList};
use crate::data::error::DataError;
use crate::tasks::custom::SplitFiles;
use crate::tasks::custom::form::{
    AnsweredForm, ExampleForm, LabelNames, LabelRule, LabelledForm, SetSpelling,
};
use crate::tasks::custom::labels;
use crate::tasks::custom::template::ColumnTemplate;

/// What is between labels unless another separator is given.
const SEPARATOR: &str = "|";

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

impl Resolver<'_> {
    /// What an example is made of, with its labels: those of the training files, which are then
    /// recorded in the table, if none are named.
    pub(super) fn form(
        &mut self,
        table: &mut TaskTable,
        files: Option<(&SplitFiles, &Path)>,
    ) -> Option<ExampleForm> {
        let answered = table.prompt.is_some() || table.answer.is_some();
        let kind = *table.kind.get_or_insert(match answered {
            true => TaskKind::NextToken,
            false => TaskKind::Classes,
        });
        let without = match kind {
            TaskKind::NextToken => &LABELLED[..],
            _ => &ANSWERED[..],
        };
        let given = given_keys(table);
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
            TaskKind::Classes | TaskKind::NextToken | TaskKind::Instruct => {
                if table.separator.is_some() {
                    let wrong = "has a meaning only with kind = \"multilabel\"; omit it";
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
        let labels = self.label_names(table)?;
        if let SetSpelling::Separated(separator) = &spelling
            && let Some(label) = labels
                .values
                .iter()
                .find(|it| it.contains(separator.as_str()))
        {
            // Files with lists may have such a label, but predictions have text.
            let wrong = format!(
                "`{separator}` is in the label `{label}`, so that predictions could not be told \
                 apart; give another separator"
            );
            self.report_own("separator", wrong);
            return None;
        }
        Some(LabelRule::Several { labels, spelling })
    }

    /// Takes the labels from the training files if none are named. `None` where that is not possible,
    /// also because no file is to be read.
    fn discover(
        &mut self,
        table: &mut TaskTable,
        column: &str,
        separator: Option<&str>,
        files: Option<(&SplitFiles, &Path)>,
    ) -> Option<()> {
        if table.labels.is_some() {
            return Some(());
        }
        // Labels that cannot be read were reported.
        let (files, folder) = files.filter(|_| self.problems.readable(&["task.labels"]))?;
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
            let parsed = text.parse::<ColumnTemplate>();
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
}

/// The keys that a table has, of those that belong to one form of example.
pub(super) fn given_keys(table: &TaskTable) -> Vec<&'static str> {
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
