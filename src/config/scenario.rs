//! A scenario file, read key by key so that each error has its line and none hides another.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::problems::{Origin, Problems};
use crate::config::settings::{MOST_WHOLE, Settings};
use crate::config::tables::reader::Refused;
use crate::config::tables::task::TaskTable;
use crate::config::tables::{ScenarioTables, reader};

/// Names of the tables besides the flat settings.
const TABLES: [&str; 6] = [
    "clients", "faults", "policy", "restart", "sampling", "too_few",
];

/// The setting that is a task's name, or a table that describes one.
pub(crate) const TASK: &str = "task";

/// Reads a file that describes a task: the keys of `[task]`, with or without that line above them.
/// What is refused is reported.
pub(crate) fn read_task(path: &Path, problems: &mut Problems) -> Option<TaskTable> {
    let right = "name a file of records, or one that describes a task (paths are taken from the \
                 current directory)";
    let text = read_text(path, right, problems)?;
    let reader = ScenarioReader { path, text: &text };
    let (table, errors) = DeTable::parse_recoverable(&text);
    reader.report_syntax(&errors, problems);
    if !errors.is_empty() {
        return None;
    }
    let span = table.span();
    let mut table = table.into_inner();
    let has_line = table.len() == 1 && table.contains_key(TASK);
    let (key, value) = match table.remove_entry(TASK) {
        Some(task) if has_line => task,
        other => {
            table.extend(other);
            let key = Spanned::new(span.clone(), DeString::from(TASK));
            (key, Spanned::new(span, DeValue::Table(table)))
        }
    };
    let read = reader.take_table(key, value, problems);
    Some(read.task.unwrap_or_default())
}

/// Reads a scenario file into a table of the settings that could be read, and its tables.
///
/// Each readable setting's place is noted in `problems`; everything else is reported there.
/// `None` if the file is missing or is not TOML.
pub(crate) fn read(path: &Path, problems: &mut Problems) -> Option<(toml::Table, ScenarioTables)> {
    let right = "name a scenario file (paths are taken from the current directory)";
    let text = read_text(path, right, problems)?;
    let reader = ScenarioReader { path, text: &text };
    let (table, errors) = DeTable::parse_recoverable(&text);
    reader.report_syntax(&errors, problems);
    let (mut settings, mut tables) = (toml::Table::new(), ScenarioTables::default());
    for (key, value) in table.into_inner() {
        let is_own_task =
            key.get_ref().as_ref() == TASK && matches!(value.get_ref(), DeValue::Table(_));
        if !TABLES.contains(&key.get_ref().as_ref()) && !is_own_task {
            reader.take(key, value, errors.is_empty(), &mut settings, problems);
        } else if errors.is_empty() {
            tables.extend(reader.take_table(key, value, problems));
        }
    }
    errors.is_empty().then_some((settings, tables))
}

/// Reads a file of settings; reports what keeps it from being text, with what would be `right`
/// where it cannot be read at all.
pub(crate) fn read_text(path: &Path, right: &str, problems: &mut Problems) -> Option<String> {
    let bytes = std::fs::read(path)
        .map_err(|error| {
            problems.report_input(format_args!("{}: {error}; {right}", path.display()));
        })
        .ok()?;
    String::from_utf8(bytes)
        .map_err(|error| {
            let end = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..end]);
            let byte = error.as_bytes()[end];
            let wrong = format!(
                "not UTF-8: invalid byte 0x{byte:02X}; save the file as UTF-8 (paths in it must be \
                 UTF-8 too)"
            );
            problems.report_at(path.to_owned(), position(&before, end), &wrong);
        })
        .ok()
}

struct ScenarioReader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl ScenarioReader<'_> {
    /// Takes one key over into `settings`, or reports it.
    fn take(
        &self,
        key: Spanned<DeString<'_>>,
        value: Spanned<DeValue<'_>>,
        sound: bool,
        settings: &mut toml::Table,
        problems: &mut Problems,
    ) {
        let span = value.span();
        let written = key.get_ref().to_string();
        let name = Settings::find(&written)
            .map_or(&*written, |it| it.facts().key)
            .to_owned();
        match setting(&key, &value) {
            Ok(_) if problems.origins().given(&name) => {
                let other = Settings::find(&name).and_then(|it| it.facts().other_name);
                let other = other.unwrap_or_default();
                let wrong = format!("{name} and {other} are two names of one setting; give one");
                let place = position(self.text, span.start);
                problems.report_at(self.path.to_owned(), place, &wrong);
            }
            Ok(setting) => {
                let (line, column) = position(self.text, span.start);
                let origin = Origin::File {
                    path: self.path.to_owned(),
                    line,
                    column,
                };
                let written = self.text.get(span).unwrap_or_default();
                problems.origins_mut().note(&name, origin, written);
                settings.extend(setting);
            }
            // What recovery made of a damaged value is not the user's mistake.
            Err(_) if !sound && known_keys().contains(&name) => {}
            Err((at, wrong)) => {
                problems.report_at(self.path.to_owned(), position(self.text, at), &wrong);
                problems.note_unreadable(&name);
                if let Some(hint) = did_you_mean(&name, known_keys()) {
                    problems.note_unreadable(&hint);
                }
            }
        }
    }

    /// Reads a table key by key; what is refused is reported.
    fn take_table(
        &self,
        key: Spanned<DeString<'_>>,
        value: Spanned<DeValue<'_>>,
        problems: &mut Problems,
    ) -> ScenarioTables {
        let span = key.span().start..value.span().end;
        let table = Spanned::new(span.clone(), DeTable::from_iter([(key, value)]));
        for place in reader::places(table.get_ref()) {
            let (line, column) = position(self.text, place.span.start);
            let origin = Origin::File {
                path: self.path.to_owned(),
                line,
                column,
            };
            let written = if place.is_table {
                None
            } else {
                self.text.get(place.span)
            };
            problems
                .origins_mut()
                .note(&place.path, origin, written.unwrap_or_default());
        }
        let (tables, refused) = reader::read(&table);
        for refused in refused {
            self.report_refused(&refused, &span, problems);
        }
        tables
    }

    fn report_refused(&self, refused: &Refused, table: &Range<usize>, problems: &mut Problems) {
        let message = refused.error.message();
        let Some(place) = &refused.place else {
            return self.report(table, &plain_words(message), problems);
        };
        problems.note_unreadable(&place.path);
        let hint = suggestion(message);
        if message.starts_with("unknown field") {
            if let Some(hint) = &hint {
                let path = place.path.trim_end_matches(&place.key);
                problems.note_unreadable(&format!("{path}{hint}"));
            }
            let text = match hint {
                Some(hint) => format!("unknown key `{}`; did you mean `{hint}`?", place.path),
                None => format!("unknown key `{}`; {}", place.path, expected(message)),
            };
            return self.report(&place.key_span, &text, problems);
        }
        let hint = hint.map_or_else(String::new, |hint| format!("; did you mean `{hint}`?"));
        let text = format!("{}: {}{hint}", place.path, plain_words(message));
        self.report(&place.span, &text, problems);
    }

    /// Reports the first error of each line; the parser's further ones follow from it.
    fn report_syntax(&self, errors: &[toml::de::Error], problems: &mut Problems) {
        let mut lines = BTreeSet::new();
        for error in errors {
            let span = error.span().unwrap_or(self.text.len()..self.text.len());
            if lines.insert(position(self.text, span.start).0) {
                self.report(&span, error.message(), problems);
            }
        }
    }

    fn report(&self, span: &Range<usize>, text: &str, problems: &mut Problems) {
        let place = position(self.text, span.start);
        problems.report_at(self.path.to_owned(), place, text.trim_end());
    }
}

/// Reads one setting: its key with its value, or where in the text it is wrong and what is.
pub(crate) fn setting(
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<toml::Table, (usize, String)> {
    let name = key.get_ref().to_string();
    let Some(known) = Settings::find(&name) else {
        let hint = did_you_mean(&name, known_keys()).map_or_else(
            || "`regatta run --help` lists the settings".to_owned(),
            |hint| format!("did you mean `{hint}`?"),
        );
        let wrong = format!("unknown key `{name}`; {hint}");
        return Err((key.span().start, wrong));
    };
    let key = Spanned::new(key.span(), DeString::from(known.facts().key));
    let table = DeTable::from_iter([(key, value.clone())]);
    let table = Spanned::new(value.span(), table);
    match Settings::deserialize(table.into_deserializer()) {
        Ok(setting) => checked_table(&setting)
            .map_err(|wrong| (value.span().start, format!("{name}: {wrong}"))),
        Err(error) => {
            let span = error.span().unwrap_or(value.span());
            let wrong = format!("{name}: {}", plain_words(error.message()));
            Err((span.start, wrong))
        }
    }
}

/// The settings that are set, as a TOML table, or why there is none.
pub(crate) fn checked_table(settings: &Settings) -> Result<toml::Table, String> {
    // Whole numbers are all that could be wrong: TOML has them with a sign.
    toml::Table::try_from(settings)
        .map_err(|_| format!("a whole number is at most {MOST_WHOLE}, the largest that TOML has"))
}

/// The settings that are set, as a TOML table. To be called for a plan's, which have been one.
pub(crate) fn to_table(settings: &Settings) -> toml::Table {
    toml::Table::try_from(settings).unwrap_or_else(|error| not_toml(&error))
}

/// The settings and tables that are set, as the text of a scenario file.
pub(crate) fn to_toml(settings: &Settings, tables: &ScenarioTables) -> String {
    let settings = toml::to_string(settings).unwrap_or_else(|error| not_toml(&error));
    let tables = toml::to_string(tables).unwrap_or_else(|error| not_toml(&error));
    match tables.as_str() {
        "" => settings,
        tables => format!("{settings}\n{tables}"),
    }
}

fn not_toml(error: &toml::ser::Error) -> ! {
    unreachable!("settings are plain values, which TOML can hold: {error}")
}

/// Names of all settings and tables.
fn known_keys() -> Vec<String> {
    let keys = Settings::keys().chain(TABLES);
    keys.map(str::to_owned).collect()
}

/// The last part of a message that says what was expected.
fn expected(message: &str) -> &str {
    message.split_once(", ").map_or(message, |(_, rest)| rest)
}

/// What may have been meant where a message says that a name is unknown and lists those that are
/// not: ``unknown variant `markow`, expected `always` or `markov` ``.
fn suggestion(message: &str) -> Option<String> {
    let mut names = message
        .strip_prefix("unknown ")?
        .split('`')
        .skip(1)
        .step_by(2);
    let wrong = names.next()?;
    did_you_mean(wrong, names.map(str::to_owned).collect())
}

/// The known key that is nearest to a misspelt one, when any is near.
pub(crate) fn did_you_mean(name: &str, known: Vec<String>) -> Option<String> {
    let name = name.replace('-', "_").to_lowercase();
    known
        .into_iter()
        .map(|key| (strsim::jaro_winkler(&name, &key), key))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

/// Line and column, from 1, of a byte offset.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

/// A deserialiser's message in the user's words rather than Rust's types.
fn plain_words(message: &str) -> String {
    [
        ("expected u32", "expected a whole number from 0"),
        ("expected u64", "expected a whole number from 0"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a sequence", "expected a list in brackets"),
        ("expected path string", "expected a path in quotes"),
        ("expected a string", "expected text in quotes"),
    ]
    .into_iter()
    .fold(message.to_owned(), |text, (rust, plain)| {
        text.replace(rust, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Option<toml::Table>, Problems) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.toml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Problems::default();
        let table = read(&path, &mut problems).map(|(table, _)| table);
        (table, problems)
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        assert_eq!(position("a\nbé = 1", 0), (1, 1));
        assert_eq!(position("a\nbé = 1", 7), (2, 5));
    }

    #[test]
    fn a_misspelt_key_finds_its_neighbour_and_a_foreign_one_none() {
        let near = |name| did_you_mean(name, known_keys());
        assert_eq!(near("agg-typ").as_deref(), Some("agg_type"));
        assert_eq!(near("num_client").as_deref(), Some("num_clients"));
        assert_eq!(near("zebra"), None);
    }

    #[test]
    fn readable_keys_are_taken_over_beside_unreadable_ones() {
        let (table, problems) = read_text("rounds = 3\nlr = \"fast\"\nclient_gpus = [1, 2]\n");
        let table = table.unwrap();
        assert_eq!(table["rounds"].as_integer(), Some(3));
        assert_eq!(table["client_gpus"].as_array().unwrap().len(), 2);
        assert!(!table.contains_key("lr"));
        let text = problems.to_string();
        assert!(
            text.contains("s.toml:2:6: lr: invalid type: string \"fast\", expected a number"),
            "{text}"
        );
    }

    #[test]
    fn a_key_given_twice_is_an_error_with_its_line() {
        let (_, problems) = read_text("r = 4\nlr = 0.1\nr = 8\n");
        assert!(
            problems.to_string().contains("s.toml:3:1: duplicate key"),
            "{problems}"
        );
    }

    #[test]
    fn another_name_of_a_key_is_taken_and_both_at_once_are_refused() {
        let (table, problems) = read_text("lora_r = 2\n");
        assert!(problems.is_empty());
        assert_eq!(table.unwrap()["r"].as_integer(), Some(2));
        let (_, problems) = read_text("r = 2\nlora_r = 4\n");
        let text = problems.to_string();
        assert!(
            text.contains("s.toml:1:5: r and lora_r are two names"),
            "{text}"
        );
    }

    #[test]
    fn every_damaged_line_is_reported() {
        let (table, problems) = read_text("r = \nlr = 0.1\nrounds 5\n");
        assert!(table.is_none());
        let text = problems.to_string();
        assert!(
            text.contains("s.toml:1:") && text.contains("s.toml:3:"),
            "{text}"
        );
    }
}
