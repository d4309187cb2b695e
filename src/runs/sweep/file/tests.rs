use super::*;
use crate::aggregate::methods::METHODS;

fn read_text(text: &str) -> Result<Sweep, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, text).unwrap();
    read(&path).map_err(|problems| {
        let folder = format!("{}/", folder.path().display());
        problems.to_string().replace(&folder, "")
    })
}

#[test]
fn a_grid_is_each_with_each_and_excluded_ones_are_left_out() {
    let sweep = read_text(
        "scenario = \"q.toml\"\n[settings]\nrounds = 2\n[grid]\nagg_type = [\"ours\", \
         \"ffa\"]\n\
         seed = [1, 2]\n[[include]]\nagg_type = \"flora\"\nranks = [[2, 4]]\n\
         [[exclude]]\nagg_type = \"ffa\"\nseed = 2\n",
    )
    .unwrap();
    let shown: Vec<String> = sweep
        .combinations
        .iter()
        .map(|table| toml::to_string(table).unwrap().replace('\n', " "))
        .collect();
    assert_eq!(
        shown,
        [
            "agg_type = \"fedex\" seed = 1 ",
            "agg_type = \"fedex\" seed = 2 ",
            "agg_type = \"ffa\" seed = 1 ",
            "agg_type = \"flora\" ranks = [2, 4] ",
        ]
    );
    assert_eq!(sweep.name, "s");
    assert_eq!(sweep.settings["rounds"].as_integer(), Some(2));
}

#[test]
fn an_alias_of_a_method_is_its_name_in_a_grid_and_in_what_is_excluded() {
    for info in METHODS {
        for name in info.aliases.iter().chain([&info.name]) {
            let text = format!(
                "[grid]\nagg_type = [\"{name}\", \"{}\"]\nseed = [1, 2]\n\
                 [[exclude]]\nagg_type = \"{name}\"\nseed = 2\n",
                info.name
            );
            let sweep = read_text(&text).unwrap();
            assert_eq!(sweep.combinations.len(), 1, "{text}");
            let method = sweep.combinations[0]["agg_type"].as_str();
            assert_eq!(method, Some(info.name));
        }
    }
}

#[test]
fn everything_wrong_is_reported_with_its_place() {
    let problems = read_text(
        "scenari = \"q.toml\"\n[grid]\nagg_typ = [\"ours\"]\nseed = [1, \"two\"]\n\
         name = \"mine\"\nr = []\n",
    )
    .unwrap_err();
    let lines: Vec<&str> = problems.lines().collect();
    let starts = [
        "error: s.toml:1:1: unknown key `scenari`; did you mean `scenario`?",
        "error: s.toml:2:",
        "error: s.toml:3:1: unknown key `agg_typ`; did you mean `agg_type`?",
        "error: s.toml:4:12: seed: invalid type: string \"two\", expected a whole number",
        "error: s.toml:5:1: `name` is given to each run by the sweep",
    ];
    assert_eq!(lines.len(), starts.len(), "{problems}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(
            line.starts_with(start),
            "{line:?} does not start with {start:?}"
        );
    }
}

#[test]
fn a_choice_and_the_pairs_of_the_comparison_are_read() {
    let sweep = read_text(
        "paired = [\"agg_type\", \"lr\"]\nreference = \"fedit\"\n[grid]\n\
         agg_type = [\"fedit\", \"fedex\"]\nlr = [0.1, 0.2]\nseed = [1, 2]\n\
         [choose]\nsetting = \"lr\"\nseed = [8, 9]\nscore = \"loss\"\n",
    )
    .unwrap();
    assert_eq!(sweep.paired.unwrap(), ["agg_type", "lr"]);
    assert_eq!(sweep.reference.as_deref(), Some("fedit"));
    assert_eq!(sweep.choose.unwrap().score.as_deref(), Some("loss"));
    assert_eq!(sweep.choices.len(), 2);
    let grid = "[grid]\nlr = [0.1]\nseed = [1]\n";
    for (choose, wrong) in [
        ("seed = 8", "s.toml:4:1: give a `setting` to choose"),
        (
            "setting = \"lr\"\nseed = 1",
            "s.toml:4:1: seed 1 is one of the grid's",
        ),
        (
            "setting = \"r\"\nseed = 8",
            "s.toml:4:1: each combination of the grid",
        ),
        ("setting = \"lr\"\nsed = 8", "s.toml:6:1: unknown key `sed`"),
        (
            "setting = \"lr\"\nseed = \"x\"",
            "s.toml:6:8: seed: invalid type",
        ),
    ] {
        let problems = read_text(&format!("{grid}[choose]\n{choose}\n")).unwrap_err();
        assert!(problems.contains(wrong), "{problems}");
    }
}

#[test]
fn what_excludes_nothing_and_what_runs_nothing_are_errors() {
    let excluded = read_text("[grid]\nseed = [1]\n[[exclude]]\nseed = 2\n").unwrap_err();
    assert!(
        excluded.contains("s.toml:3:1: this excludes nothing"),
        "{excluded}"
    );
    assert!(read_text("").unwrap_err().contains("nothing to run"));
    assert!(
        read_text("[grid]\nseed = [1\n")
            .unwrap_err()
            .contains("s.toml:")
    );
}

#[test]
fn pairs_that_cannot_be_made_are_errors_before_anything_runs() {
    let grid = "[grid]\nagg_type = [\"fedit\", \"fedex\"]\n";
    for (pairs, wrong) in [
        (
            "paired = \"agg_typ\"",
            "s.toml:1:10: unknown setting `agg_typ`; did you mean `agg_type`?",
        ),
        (
            "paired = [\"lr\", 3]",
            "s.toml:1:17: expected text in quotes",
        ),
        (
            "reference = \"fedit\"",
            "s.toml:1:13: name the settings that pairs may differ in",
        ),
        (
            "paired = \"agg_type\"\nreference = \"flora\"",
            "s.toml:2:13: no run has agg_type flora; there are: fedex, fedit",
        ),
    ] {
        let problems = read_text(&format!("{pairs}\n{grid}")).unwrap_err();
        assert!(problems.contains(wrong), "{problems}");
    }
    let other_name = "paired = \"agg_type\"\nreference = \"normal\"";
    assert!(read_text(&format!("{other_name}\n{grid}")).is_ok());
}
