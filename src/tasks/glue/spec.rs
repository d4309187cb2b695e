//! The table of what tells one task from another.

use crate::data::schema::Schema;

/// The properties of most tasks.
const COMMON: Schema = Schema {
    name: "",
    glue_name: "",
    hub_texts: &["sentence1", "sentence2"],
    tsv_texts: &["sentence1", "sentence2"],
    tsv_label: "label",
    tsv_index: "index",
    headerless: None,
    label_names: &[],
    named_labels: false,
    has_broken_lines: false,
};

/// By task, in the order of the enum.
pub(crate) static SPECS: [Schema; 9] = [
    Schema {
        name: "cola",
        glue_name: "CoLA",
        hub_texts: &["sentence"],
        tsv_texts: &["sentence"],
        headerless: Some(&["source", "label", "mark", "sentence"]),
        label_names: &["unacceptable", "acceptable"],
        ..COMMON
    },
    Schema {
        name: "sst2",
        glue_name: "SST-2",
        hub_texts: &["sentence"],
        tsv_texts: &["sentence"],
        label_names: &["negative", "positive"],
        ..COMMON
    },
    Schema {
        name: "mrpc",
        glue_name: "MRPC",
        tsv_texts: &["#1 String", "#2 String"],
        tsv_label: "Quality",
        label_names: &["not_equivalent", "equivalent"],
        ..COMMON
    },
    Schema {
        name: "stsb",
        glue_name: "STS-B",
        tsv_label: "score",
        ..COMMON
    },
    Schema {
        name: "qqp",
        glue_name: "QQP",
        hub_texts: &["question1", "question2"],
        tsv_texts: &["question1", "question2"],
        tsv_label: "is_duplicate",
        tsv_index: "id",
        label_names: &["not_duplicate", "duplicate"],
        has_broken_lines: true,
        ..COMMON
    },
    Schema {
        name: "mnli",
        glue_name: "MNLI",
        hub_texts: &["premise", "hypothesis"],
        tsv_label: "gold_label",
        label_names: &["entailment", "neutral", "contradiction"],
        named_labels: true,
        ..COMMON
    },
    Schema {
        name: "qnli",
        glue_name: "QNLI",
        hub_texts: &["question", "sentence"],
        tsv_texts: &["question", "sentence"],
        label_names: &["entailment", "not_entailment"],
        named_labels: true,
        ..COMMON
    },
    Schema {
        name: "rte",
        glue_name: "RTE",
        label_names: &["entailment", "not_entailment"],
        named_labels: true,
        ..COMMON
    },
    Schema {
        name: "wnli",
        glue_name: "WNLI",
        label_names: &["not_entailment", "entailment"],
        ..COMMON
    },
];
