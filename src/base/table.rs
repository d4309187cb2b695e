//! Tables for people and for programs: one table, shown on the terminal or as Markdown, or
//! written as JSON or CSV.
//!
//! A [`Cell`] has a value, which programs get, and a text, which people see: `298000` bytes are
//! shown as `298.0 kB`.

use clap::ValueEnum;
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Cell as TextCell, CellAlignment, TableStyle};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// The forms in which a table is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// With lines, for the terminal.
    #[default]
    Table,
    /// A list of objects; where there are several tables, an object of such lists.
    Json,
    /// With a header; where there are several tables, with an empty line between them.
    Csv,
    /// Markdown.
    Md,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    name: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A column's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name for programs.
    pub key: String,
    /// Its name for people, with the unit; empty: the column is for programs alone.
    pub title: String,
}

/// How a number that is none is shown, and written as CSV; JSON has `null` for it.
pub const NAN: &str = "NaN";

/// The content of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The value for programs, in base units.
    pub value: Value,
    /// The text for people.
    pub shown: String,
    /// Whether it is a number that is none, for which `value` has no form.
    is_nan: bool,
}

impl Cell {
    /// A value that is shown as something else.
    pub fn new(value: impl Into<Value>, shown: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            shown: shown.into(),
            is_nan: false,
        }
    }

    /// A number that is shown as something else. One that is not finite is NaN for programs.
    pub fn of_number(number: f64, shown: impl Into<String>) -> Self {
        Self {
            is_nan: !number.is_finite(),
            ..Self::new(number, shown)
        }
    }

    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Value::Null, "–")
    }

    /// A number with N digits after the point, or nothing.
    pub fn number(number: impl Into<Option<f64>>, digits: usize) -> Self {
        let number = number.into();
        number.map_or_else(Self::none, |x| Self::of_number(x, show_number(x, digits)))
    }

    /// A loss or a score, or nothing.
    pub fn score(score: impl Into<Option<f64>>) -> Self {
        let score = score.into();
        score.map_or_else(Self::none, |x| Self::of_number(x, show_score(x)))
    }

    /// A number of any magnitude, or nothing.
    pub fn scientific(number: impl Into<Option<f64>>) -> Self {
        let number = number.into();
        number.map_or_else(Self::none, |x| Self::of_number(x, show_small(x)))
    }

    /// A count, with a dot for none: a table of zeros hides what happened.
    pub fn count(count: impl Into<u64>) -> Self {
        match count.into() {
            0 => Self::new(0, "·"),
            count => Self::new(count, count.to_string()),
        }
    }

    /// Bytes, shown in the largest decimal unit that keeps the number above 1.
    #[must_use]
    pub fn bytes(bytes: u64) -> Self {
        Self::new(bytes, show_bytes(bytes))
    }
}

/// A number of things: `1 round`, `2 rounds`.
pub fn count(number: impl std::fmt::Display, what: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A number with N digits after the point; [`NAN`] if it is none.
#[must_use]
pub fn show_number(number: f64, digits: usize) -> String {
    match number.is_finite() {
        true => format!("{number:.digits$}"),
        false => NAN.to_owned(),
    }
}

/// A loss or a score with four digits after the point, and with fewer where it is large; [`NAN`] if
/// it is none.
#[must_use]
pub fn show_score(score: f64) -> String {
    match score.abs() {
        size if size < 10.0 => show_number(score, 4),
        size if size < 100.0 => show_number(score, 3),
        size if size < 1e4 => show_number(score, 1),
        size if size < 1e6 => show_number(score, 0),
        _ => show_small(score),
    }
}

/// A number of any magnitude; [`NAN`] if it is none.
#[must_use]
pub fn show_small(number: f64) -> String {
    match number.is_finite() {
        true => format!("{number:.1e}"),
        false => NAN.to_owned(),
    }
}

/// Bytes for people, with a decimal unit.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let size = bytes as f64;
    match units.into_iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", size / unit),
        None => format!("{bytes} B"),
    }
}

impl<T: Into<Value>> From<T> for Cell {
    fn from(value: T) -> Self {
        let value = value.into();
        let shown = match &value {
            Value::Null => "–".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self::new(value, shown)
    }
}

impl Table {
    /// An empty table; columns are given by key and title.
    #[must_use]
    pub fn new(name: &'static str, columns: &[(&str, &str)]) -> Self {
        let mut table = Self {
            name,
            ..Self::default()
        };
        for (key, title) in columns {
            table.add_column(*key, *title);
        }
        table
    }

    /// Adds a column; before any rows.
    pub fn add_column(&mut self, key: impl Into<String>, title: impl Into<String>) {
        self.columns.push(Column {
            key: key.into(),
            title: title.into(),
        });
    }

    /// Adds a row: a cell for each column.
    pub fn add_row(&mut self, row: impl IntoIterator<Item = Cell>) {
        let row: Vec<Cell> = row.into_iter().collect();
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// The same table with a first column that says the same in each row.
    #[must_use]
    pub fn tagged(mut self, column: &str, value: impl Into<Cell>) -> Self {
        let cell = value.into();
        let head = Column {
            key: column.to_owned(),
            title: column.to_owned(),
        };
        self.columns.insert(0, head);
        self.rows
            .iter_mut()
            .for_each(|row| row.insert(0, cell.clone()));
        self
    }

    /// One table below the other; their columns are the same.
    #[must_use]
    pub fn joined(tables: impl IntoIterator<Item = Self>) -> Self {
        let joined = tables.into_iter().reduce(|mut all, table| {
            all.rows.extend(table.rows);
            all
        });
        joined.unwrap_or_default()
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// The titles of the columns that people see.
    pub fn titles(&self) -> impl Iterator<Item = &str> {
        let titles = self.columns.iter().map(|column| column.title.as_str());
        titles.filter(|title| !title.is_empty())
    }

    /// The text shown for each row.
    pub fn visible_rows(&self) -> impl Iterator<Item = impl Iterator<Item = &Cell>> {
        self.rows.iter().map(|row| {
            let columns = self.columns.iter().zip(row);
            let seen = columns.filter(|(column, _)| !column.title.is_empty());
            seen.map(|(_, cell)| cell)
        })
    }

    /// Whether people see numbers in a column, for each that they see.
    #[must_use]
    pub fn numeric(&self) -> Vec<bool> {
        let mut numeric = vec![false; self.titles().count()];
        for row in self.visible_rows() {
            for (numeric, cell) in numeric.iter_mut().zip(row) {
                *numeric |= cell.value.is_number() || cell.is_nan;
            }
        }
        numeric
    }

    fn drawn(&self, style: TableStyle) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(style);
        table.set_header(self.titles());
        let numeric = self.numeric();
        for row in self.visible_rows() {
            table.add_row(row.zip(&numeric).map(text_cell));
        }
        table
    }

    fn markdown(&self) -> String {
        let mut escaped = self.clone();
        let cells = escaped.rows.iter_mut().flatten();
        cells.for_each(|cell| cell.shown = cell.shown.replace('|', "\\|").replace('\n', " "));
        escaped.drawn(ASCII_MARKDOWN).to_string()
    }

    fn csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.columns.iter().map(|column| &column.key))?;
        for row in &self.rows {
            writer.write_record(row.iter().map(plain))?;
        }
        let bytes = writer.into_inner().map_err(|error| error.into_error())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn text_cell((cell, numeric): (&Cell, &bool)) -> TextCell {
    let text = TextCell::new(&cell.shown);
    if *numeric {
        text.set_alignment(CellAlignment::Right)
    } else {
        text
    }
}

/// A value as CSV has it; nothing is empty.
fn plain(cell: &Cell) -> String {
    match &cell.value {
        _ if cell.is_nan => NAN.to_owned(),
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in &self.rows {
            rows.serialize_element(&Row(&self.columns, row))?;
        }
        rows.end()
    }
}

/// A row as an object, its keys in the columns' order.
struct Row<'a>(&'a [Column], &'a [Cell]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for (column, cell) in self.0.iter().zip(self.1) {
            object.serialize_entry(&column.key, &cell.value)?;
        }
        object.end()
    }
}

/// Tables in a form, without the last line's end.
///
/// # Errors
/// If a table cannot be written in that form.
pub fn render(tables: &[&Table], format: Format) -> anyhow::Result<String> {
    let each = |draw: fn(&Table) -> String| tables.iter().map(|table| draw(table)).collect();
    let texts: Vec<String> = match format {
        Format::Table => each(|table| table.drawn(UTF8_FULL_CONDENSED).to_string()),
        Format::Md => each(Table::markdown),
        Format::Csv => {
            let written: Result<_, _> = tables.iter().map(|table| table.csv()).collect();
            written?
        }
        Format::Json => vec![json(tables)?],
    };
    let between = if format == Format::Table {
        "\n"
    } else {
        "\n\n"
    };
    let texts: Vec<&str> = texts.iter().map(|text| text.trim_end()).collect();
    Ok(texts.join(between))
}

fn json(tables: &[&Table]) -> serde_json::Result<String> {
    match tables {
        [table] => serde_json::to_string_pretty(table),
        tables => {
            let named = tables.iter().map(|table| (table.name, table));
            let named: std::collections::BTreeMap<_, _> = named.collect();
            serde_json::to_string_pretty(&named)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Table {
        let mut table = Table::new("fleet", &[("client", "client"), ("bytes_up", "up")]);
        table.add_row(["a|b".into(), Cell::bytes(298_123)]);
        table.add_row(["c, \"d\"".into(), Cell::none()]);
        table
    }

    #[test]
    fn programs_get_values_and_people_get_texts() {
        let table = fleet();
        let csv = render(&[&table], Format::Csv).unwrap();
        assert_eq!(csv, "client,bytes_up\na|b,298123\n\"c, \"\"d\"\"\",");
        let json: Value = serde_json::from_str(&render(&[&table], Format::Json).unwrap()).unwrap();
        assert_eq!(json[0]["bytes_up"], 298_123);
        assert_eq!(
            json[1],
            serde_json::json!({"client": "c, \"d\"", "bytes_up": null})
        );
        let text = render(&[&table], Format::Table).unwrap();
        assert!(text.contains("298.1 kB") && text.contains('–'), "{text}");
    }

    #[test]
    fn markdown_has_a_rule_below_its_head_and_escapes_bars() {
        let text = render(&[&fleet()], Format::Md).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].starts_with("|-"), "{text}");
        assert!(lines[2].contains(r"a\|b"), "{text}");
    }

    #[test]
    fn several_tables_are_one_object_in_json() {
        let (one, mut other) = (fleet(), fleet());
        other.name = "other";
        let json: Value =
            serde_json::from_str(&render(&[&one, &other], Format::Json).unwrap()).unwrap();
        assert_eq!(json["fleet"][0], json["other"][0]);
    }

    #[test]
    fn a_column_without_a_title_is_for_programs_alone() {
        let mut table = Table::new("means", &[("mean", "mean"), ("deviation", "")]);
        table.add_row([Cell::new(2.0, "2.0 ± 0.5"), Cell::number(0.5, 1)]);
        let csv = render(&[&table], Format::Csv).unwrap();
        assert_eq!(csv, "mean,deviation\n2.0,0.5");
        let text = render(&[&table], Format::Md).unwrap();
        assert_eq!(
            text.lines().last().unwrap().matches('|').count(),
            2,
            "{text}"
        );
    }

    #[test]
    fn a_large_score_has_fewer_digits_after_the_point() {
        let shown = [0.8125, 12.8403, 219.894, 377_118.6, 2.5e7].map(show_score);
        assert_eq!(shown, ["0.8125", "12.840", "219.9", "377119", "2.5e7"]);
        assert_eq!(show_score(f64::NAN), NAN);
    }

    #[test]
    fn what_is_not_a_number_is_null_in_json_and_nan_in_csv_and_for_people() {
        let mut table = Table::new("scores", &[("a", "a"), ("b", "b"), ("c", "c"), ("d", "d")]);
        table.add_row([
            Cell::number(f64::NAN, 2),
            Cell::scientific(f64::NEG_INFINITY),
            Cell::of_number(-f64::NAN, "f1 NaN"),
            Cell::none(),
        ]);
        let json: Value = serde_json::from_str(&render(&[&table], Format::Json).unwrap()).unwrap();
        for key in ["a", "b", "c", "d"] {
            assert!(json[0][key].is_null(), "{json}");
        }
        assert_eq!(
            render(&[&table], Format::Csv).unwrap(),
            "a,b,c,d\nNaN,NaN,NaN,"
        );
        let text = render(&[&table], Format::Md).unwrap();
        assert!(text.contains("| NaN | NaN | f1 NaN | –"), "{text}");
        assert_eq!(Cell::number(None, 2), Cell::none());
        assert_eq!(Cell::count(0u64).shown, "·");
    }
}
