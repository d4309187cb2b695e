//! The table of what tells one task from another.

/// How a task's files spell things.
#[derive(Debug)]
pub(crate) struct TaskSpec {
    /// The hub's and the flags' name.
    pub name: &'static str,
    /// GLUE's own name: its folder and its submission file.
    pub glue_name: &'static str,
    /// The text columns on the hub.
    pub hub_texts: &'static [&'static str],
    /// The text columns in GLUE's TSV files.
    pub tsv_texts: &'static [&'static str],
    /// The label's column in GLUE's TSV files; on the hub it is always `label`.
    pub tsv_label: &'static str,
    /// The example number's column in GLUE's TSV files; on the hub it is always `idx`.
    pub tsv_index: &'static str,
    /// The columns of files without a header (CoLA's train and dev).
    pub headerless: Option<&'static [&'static str]>,
    /// The classes' names, in the order of the hub's ids; empty for regression.
    pub label_names: &'static [&'static str],
    /// Whether TSV files and submissions spell labels by name rather than by number.
    pub named_labels: bool,
    /// Whether lines with too few fields are known in the published files, to be skipped and
    /// counted rather than refused (QQP has two dozen).
    pub has_broken_lines: bool,
}

/// What most tasks have.
const COMMON: TaskSpec = TaskSpec {
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
pub(crate) static SPECS: [TaskSpec; 9] = [
    TaskSpec {
        name: "cola",
        glue_name: "CoLA",
        hub_texts: &["sentence"],
        tsv_texts: &["sentence"],
        headerless: Some(&["source", "label", "mark", "sentence"]),
        label_names: &["unacceptable", "acceptable"],
        ..COMMON
    },
    TaskSpec {
        name: "sst2",
        glue_name: "SST-2",
        hub_texts: &["sentence"],
        tsv_texts: &["sentence"],
        label_names: &["negative", "positive"],
        ..COMMON
    },
    TaskSpec {
        name: "mrpc",
        glue_name: "MRPC",
        tsv_texts: &["#1 String", "#2 String"],
        tsv_label: "Quality",
        label_names: &["not_equivalent", "equivalent"],
        ..COMMON
    },
    TaskSpec {
        name: "stsb",
        glue_name: "STS-B",
        tsv_label: "score",
        ..COMMON
    },
    TaskSpec {
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
    TaskSpec {
        name: "mnli",
        glue_name: "MNLI",
        hub_texts: &["premise", "hypothesis"],
        tsv_label: "gold_label",
        label_names: &["entailment", "neutral", "contradiction"],
        named_labels: true,
        ..COMMON
    },
    TaskSpec {
        name: "qnli",
        glue_name: "QNLI",
        hub_texts: &["question", "sentence"],
        tsv_texts: &["question", "sentence"],
        label_names: &["entailment", "not_entailment"],
        named_labels: true,
        ..COMMON
    },
    TaskSpec {
        name: "rte",
        glue_name: "RTE",
        label_names: &["entailment", "not_entailment"],
        named_labels: true,
        ..COMMON
    },
    TaskSpec {
        name: "wnli",
        glue_name: "WNLI",
        label_names: &["not_entailment", "entailment"],
        ..COMMON
    },
];
