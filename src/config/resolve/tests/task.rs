//! Tasks on the user's own files.

use crate::config::tests::problems;

#[test]
fn a_task_that_is_not_described_is_one_error_whatever_goes_with_its_kind() {
    for (settings, table, reason) in [
        (
            "max_new_tokens = 4",
            "train = \"a.jsonl\"\nanswer = \"a\"\nprompt = \"{q\"",
            "a brace is not closed",
        ),
        (
            "max_new_tokens = 4\ntemplate = \"alpaca\"",
            "train = \"a.csv\"\nkind = \"instruct\"",
            "not JSON",
        ),
        (
            "",
            "train = \"a.csv\"\ntext = \"t\"\nlabel = \"l\"\nlabels = 1.5",
            "task.labels",
        ),
        (
            "",
            "train = \"a.jsonl\"\nkind = \"multilabel\"\ntext = \"t\"\nlabel = \"l\"\n\
             labels = [\"a|b\", \"c\"]",
            "give another separator",
        ),
    ] {
        let found = problems(&format!("{settings}\n[task]\n{table}\n"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains(reason), "{found:?}");
    }
}
