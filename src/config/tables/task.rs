//! A task on the user's own files: `[task]` in a scenario, or a file of its own.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use clap::ValueEnum;

/// A task on files of CSV, TSV, JSON lines, JSON or Parquet. Paths are taken from the current
/// directory, or from that of `data`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskTable {
    /// The task's name [default: that of the first training file]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is learnt: classes, multilabel (any number of labels per text), score, next_token, or
    /// instruct (instructions and conversations) [default: next_token with a prompt or an answer,
    /// else classes]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<TaskKind>,
    /// File to train on, or several in a list
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<TextList>,
    /// File to score the model on, or several in a list [default: a share of the training examples]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<TextList>,
    /// File to predict, or several in a list [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<TextList>,
    /// Share of the training examples that is held out for validation, by the hash of their texts,
    /// whatever their order [default: 0.1 where there are no files for validation]
    #[schemars(range(min = 0.0, max = 1.0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holdout: Option<f64>,
    /// Column of the text
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Column of the second text of a pair
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text2: Option<String>,
    /// Column of the label; multilabel: of a list, or of labels with a separator between them, or
    /// a list of columns that hold 0 or 1
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<TextList>,
    /// multilabel: what is between labels in one cell [default: "|"]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The labels as files spell them, in the order of their numbers [default: those of the
    /// training files, sorted]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<TextList>,
    /// The labels as people read them, in the same order [default: as files spell them]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_names: Option<TextList>,
    /// Column of an example's id, under which it is predicted [default: its row]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// next_token: what a model reads, with columns in braces, such as "{question} ->"
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// next_token: column of what it is to write, or a text with columns in braces
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// instruct: the template, as `template` has it outside of this table
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The metrics, of which the first chooses the best round [default: accuracy and macro_f1 of
    /// classes; micro_f1, macro_f1 and subset_accuracy of multilabel; mse, mae, pearson and
    /// spearman of scores]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<TextList>,
}

/// What is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum TaskKind {
    /// One class per text
    Classes,
    /// Any number of labels per text
    Multilabel,
    /// One number per text
    Score,
    /// An answer to each prompt
    NextToken,
    /// Instructions or conversations, by a template
    Instruct,
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classes => "classes",
            Self::Multilabel => "multilabel",
            Self::Score => "score",
            Self::NextToken => "next_token",
            Self::Instruct => "instruct",
        })
    }
}

impl TaskTable {
    /// The keys that decide what is learnt, without the files: their content decides.
    #[must_use]
    pub fn without_files(&self) -> Self {
        Self {
            train: None,
            validation: None,
            test: None,
            ..self.clone()
        }
    }
}

/// A text or a number, or several in a list, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextList(pub Vec<String>);

impl Serialize for TextList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TextList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextListVisitor)
    }
}

struct TextListVisitor;

impl<'de> Visitor<'de> for TextListVisitor {
    type Value = TextList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text in quotes, or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TextList, E> {
        Ok(TextList(vec![text.to_owned()]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<TextList, E> {
        Ok(TextList(vec![number.to_string()]))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<TextList, E> {
        Ok(TextList(vec![value.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TextList, A::Error> {
        let mut all = Vec::new();
        while let Some(TextList(mut item)) = items.next_element()? {
            match (item.pop(), item.is_empty()) {
                (Some(one), true) => all.push(one),
                _ => return Err(A::Error::custom("expected a list of texts, not of lists")),
            }
        }
        Ok(TextList(all))
    }
}

impl JsonSchema for TextList {
    fn schema_name() -> Cow<'static, str> {
        "TextOrList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({ "type": ["string", "integer", "boolean"] });
        json_schema!({
            "anyOf": [one, { "type": "array", "items": one }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_be_one_text_and_labels_may_be_numbers() {
        let table: TaskTable =
            toml::from_str("train = \"a.csv\"\nlabels = [1, \"x\", true]\nlabel = \"stars\"")
                .unwrap();
        assert_eq!(table.train, Some(TextList(vec!["a.csv".into()])));
        let labels = ["1", "x", "true"].map(str::to_owned).to_vec();
        assert_eq!(table.labels, Some(TextList(labels)));
        let again: TaskTable = toml::from_str(&toml::to_string(&table).unwrap()).unwrap();
        assert_eq!(again, table);
        for bad in ["labels = [[1, 2]]", "labels = 1.5", "train = {}"] {
            assert!(toml::from_str::<TaskTable>(bad).is_err(), "{bad}");
        }
    }
}
