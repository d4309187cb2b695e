//! Instructions and conversations in files that a table names.

use std::path::Path;
use std::sync::Arc;

use crate::config::resolve::Resolver;
use crate::config::tables::task::{TaskKind, TaskTable};
use crate::data::formats::records::RecordFormat;
use crate::tasks::SharedTask;
use crate::tasks::instruct::InstructTask;
use crate::tasks::instruct::source::InstructFiles;

impl Resolver<'_> {
    /// The task of a table of this kind. Its records say what is in them, so it names files and a
    /// template, which becomes that of the run. `None` when a problem was reported.
    pub(super) fn own_instructions(
        &mut self,
        table: &mut TaskTable,
        folder: Option<&Path>,
    ) -> Option<SharedTask> {
        let kind = TaskKind::Instruct;
        let mut sound = true;
        let others = [
            ("name", table.name.is_some()),
            ("holdout", table.holdout.is_some()),
            ("id", table.id.is_some()),
            ("metrics", table.metrics.is_some()),
        ];
        let others = others.into_iter().filter(|(_, given)| *given);
        let others = others.map(|(key, _)| key);
        for key in others.chain(super::form::given_keys(table)) {
            self.report_own(
                key,
                format_args!("has no meaning with kind = \"{kind}\"; omit it"),
            );
            sound = false;
        }
        let files = self.own_files(table)?;
        let named = [
            ("train", &files.train),
            ("validation", &files.validation),
            ("test", &files.test),
        ];
        for (key, files) in named {
            for file in files {
                if RecordFormat::of(file) != Some(RecordFormat::Json) {
                    let wrong = format!(
                        "{} is not JSON or JSON lines, in which instructions are",
                        file.display()
                    );
                    self.report_own(key, wrong);
                    sound = false;
                }
            }
        }
        if files.validation.is_empty() && folder.is_some() {
            self.notices.push(
                "no files for validation: one in ten prompts is held out, by its hash".to_owned(),
            );
        }
        if let Some(template) = table.template.take() {
            self.settings.template.get_or_insert(template);
        }
        let folder = folder.unwrap_or(Path::new(""));
        let places = |files: Vec<std::path::PathBuf>| -> Vec<std::path::PathBuf> {
            files.iter().map(|file| folder.join(file)).collect()
        };
        let files = InstructFiles {
            train: places(files.train),
            validation: places(files.validation),
            test: places(files.test),
        };
        let task = InstructTask::new(files);
        sound.then(|| SharedTask(Arc::new(task)))
    }
}
