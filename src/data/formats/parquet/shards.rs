//! Which files of a folder make up a split, by their names.
//!
//! One split may be in one file (`train.parquet`), in numbered shards of a known count
//! (`train-00000-of-00002.parquet`, followed by a fingerprint in older uploads), or in files
//! that are told apart by anything else (`train-a.parquet`). All files of a split must be of one
//! such set: two sets, as an upload over an older one leaves them, would count rows twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::error::DataError;
use crate::data::schema::{Schema, SplitName};

/// A split's files in a folder, in order; empty if there are none.
///
/// They are looked for in the folder itself, in its `data/`, where the hub's tools put them, and in
/// a folder of the split's own name, which holds its conversions (`train/0000.parquet`).
pub(crate) fn shards(folder: &Path, split: SplitName) -> Vec<PathBuf> {
    let named = |file: &str| set_of(file, split).is_some();
    let numbered = |file: &str| part_number(file).is_some();
    let mut files = files_where(folder, named);
    files.extend(files_where(&folder.join("data"), named));
    files.extend(files_where(&folder.join(split.hub_name()), numbered));
    files
}

fn files_where(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = paths.filter(|path| is_wanted(&name_of(path))).collect();
    files.sort();
    files
}

/// The file's name; empty, which no split's file is, where it is not UTF-8.
fn name_of(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str());
    name.unwrap_or_default().to_owned()
}

/// The set that a file belongs to, as its name tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Set {
    /// `train.parquet`.
    Whole,
    /// `train-…-of-…`.
    Numbered {
        /// What stands between the split's name and the number.
        infix: String,
        /// The number of files in the set.
        count: usize,
        /// Whether the names end with a fingerprint of the content.
        has_fingerprints: bool,
    },
    /// `train/0000.parquet`, numbered from 0 without a count.
    Parts,
    /// `train-….parquet`.
    Other,
}

/// The set and the number in it of a file named after a split; `None` for another split's file.
fn set_of(file: &str, split: SplitName) -> Option<(Set, usize)> {
    let rest = file.strip_prefix(split.hub_name())?;
    let rest = rest.strip_suffix(".parquet")?;
    if rest.is_empty() {
        return Some((Set::Whole, 0));
    }
    let rest = rest.strip_prefix('-')?;
    Some(numbered(rest).unwrap_or((Set::Other, 0)))
}

/// Reads `[INFIX-]NUMBER-of-COUNT[-FINGERPRINT]`.
fn numbered(rest: &str) -> Option<(Set, usize)> {
    let (before, after) = rest.rsplit_once("-of-")?;
    let (infix, number) = before.rsplit_once('-').unwrap_or(("", before));
    let (count, fingerprint) = match after.split_once('-') {
        Some((count, fingerprint)) => (count, Some(fingerprint)),
        None => (after, None),
    };
    let is_fingerprint = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !fingerprint.is_none_or(|text| !text.is_empty() && is_fingerprint(text)) {
        return None;
    }
    let set = Set::Numbered {
        infix: infix.to_owned(),
        count: digits(count)?,
        has_fingerprints: fingerprint.is_some(),
    };
    Some((set, digits(number)?))
}

/// The number of `0000.parquet`.
fn part_number(file: &str) -> Option<usize> {
    digits(file.strip_suffix(".parquet")?)
}

fn digits(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// Refuses files that are not one complete set: rows that count twice, or a third of a data set
/// that is missing unawares, would be worse than an error.
///
/// # Errors
/// [`DataError::SeveralSets`] with the files of all sets, [`DataError::Missing`] with those that a
/// set's names promise.
pub(crate) fn check(
    folder: &Path,
    schema: &Schema,
    split: SplitName,
    files: &[PathBuf],
) -> Result<(), DataError> {
    let mut sets: BTreeMap<(PathBuf, Set), Vec<(usize, &PathBuf)>> = BTreeMap::new();
    for path in files {
        let name = name_of(path);
        let part = || Some((Set::Parts, part_number(&name)?));
        let Some((set, number)) = set_of(&name, split).or_else(part) else {
            continue;
        };
        let parent = path.parent().unwrap_or(folder).to_owned();
        sets.entry((parent, set)).or_default().push((number, path));
    }
    let several = || DataError::SeveralSets {
        split: split.hub_name(),
        found: files.to_vec(),
    };
    let missing = |looked_for: Vec<PathBuf>| DataError::Missing {
        task: schema.name,
        dir: folder.to_owned(),
        looked_for,
    };
    let mut sets = sets.into_iter();
    let Some(((parent, set), members)) = sets.next() else {
        return Err(missing(vec![folder.join(format!("{split}-*.parquet"))]));
    };
    if sets.next().is_some() || !is_counted(&set, &members) {
        return Err(several());
    }
    let absent = absent(&parent, &set, split, &members);
    if absent.is_empty() {
        Ok(())
    } else {
        Err(missing(absent))
    }
}

/// Whether each number stands for one file, and for one that the set can have.
fn is_counted(set: &Set, members: &[(usize, &PathBuf)]) -> bool {
    let count = match set {
        Set::Numbered { count, .. } => *count,
        Set::Parts => usize::MAX,
        Set::Whole | Set::Other => return true,
    };
    let mut numbers: Vec<usize> = members.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    let is_unique = numbers.windows(2).all(|pair| pair[0] != pair[1]);
    is_unique && numbers.iter().all(|number| *number < count)
}

/// The maximum number of missing files that are named.
const NAMED: usize = 16;

/// The files that the set's names promise and that are not there.
fn absent(
    parent: &Path,
    set: &Set,
    split: SplitName,
    members: &[(usize, &PathBuf)],
) -> Vec<PathBuf> {
    let is_there = |number: &usize| members.iter().any(|(it, _)| it == number);
    let highest = members.iter().map(|(number, _)| number + 1).max();
    let count = match set {
        Set::Numbered { count, .. } => *count,
        Set::Parts => highest.unwrap_or(0),
        Set::Whole | Set::Other => 0,
    };
    let name = |number: usize| match set {
        Set::Numbered {
            infix,
            count,
            has_fingerprints,
        } => {
            let dash = if infix.is_empty() { "" } else { "-" };
            let end = if *has_fingerprints { "-*" } else { "" };
            format!("{split}-{infix}{dash}{number:05}-of-{count:05}{end}.parquet")
        }
        _ => format!("{number:04}.parquet"),
    };
    let numbers = (0..count).filter(|number| !is_there(number));
    numbers
        .take(NAMED)
        .map(|number| parent.join(name(number)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::glue::task::GlueTask;

    fn check_names(names: &[&str]) -> Result<usize, String> {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let files = shards(dir.path(), SplitName::Train);
        check(dir.path(), GlueTask::Rte.spec(), SplitName::Train, &files)
            .map(|()| files.len())
            .map_err(|error| {
                let root = dir.path().display().to_string();
                error.to_string().replace(&format!("{root}/"), "")
            })
    }

    #[test]
    fn one_set_is_taken_whatever_its_layout() {
        for (names, count) in [
            (&["train.parquet"][..], 1),
            (&["train-00000-of-00001.parquet"], 1),
            (&["train-0-of-2.parquet", "train-1-of-2.parquet"], 2),
            (&["train-00000-of-00001-0a1b2c3d4e5f6789.parquet"], 1),
            (
                &[
                    "train-00000-of-00002-0a1b.parquet",
                    "train-00001-of-00002-ffff.parquet",
                ],
                2,
            ),
            (&["train-a.parquet", "train-b.parquet"], 2),
            (&["data/train-00000-of-00001.parquet"], 1),
            (&["train/0000.parquet", "train/0001.parquet"], 2),
            // Another split's, or not a Parquet file.
            (
                &[
                    "train.parquet",
                    "training.parquet",
                    "train-x.txt",
                    "test-x.parquet",
                ],
                1,
            ),
        ] {
            assert_eq!(check_names(names), Ok(count), "{names:?}");
        }
    }

    #[test]
    fn two_sets_of_one_split_are_refused_with_all_their_names() {
        let one = "train-00000-of-00001.parquet";
        for names in [
            &[
                one,
                "train-00000-of-00002.parquet",
                "train-00001-of-00002.parquet",
            ][..],
            &[one, "train.parquet"],
            &[one, "train-00000-of-00001-abcdef123.parquet"],
            &[one, "train-0-of-1.parquet"],
            &[one, "train-00000-of-00001 (1).parquet"],
            &[one, "train-old-00000-of-00001.parquet"],
            &[one, "data/train-00000-of-00001.parquet"],
            &[one, "train/0000.parquet"],
            &["train.parquet", "train-a.parquet"],
            &[
                "train-00000-of-00001-aaaa.parquet",
                "train-00000-of-00001-bbbb.parquet",
            ],
            &["train/0.parquet", "train/0000.parquet"],
            &[one, "train-00001-of-00001.parquet"],
        ] {
            let refusal = check_names(names).unwrap_err();
            assert!(refusal.contains("more than one set"), "{refusal}");
            for name in names {
                assert!(refusal.contains(name), "{name} is not in: {refusal}");
            }
        }
    }

    #[test]
    fn a_set_that_lacks_files_is_refused_with_their_names() {
        for (names, missing) in [
            (
                &[
                    "train-00000-of-00003.parquet",
                    "train-00002-of-00003.parquet",
                ][..],
                "train-00001-of-00003.parquet",
            ),
            (
                &["train-00001-of-00002-abc.parquet"],
                "train-00000-of-00002-*.parquet",
            ),
            (
                &["data/train-00000-of-00002.parquet"],
                "data/train-00001-of-00002.parquet",
            ),
            (
                &["train/0000.parquet", "train/0002.parquet"],
                "train/0001.parquet",
            ),
            (&[], "train-*.parquet"),
        ] {
            let refusal = check_names(names).unwrap_err();
            assert!(refusal.contains(missing), "{missing} is not in: {refusal}");
        }
    }

    #[test]
    fn a_count_beyond_all_bounds_is_no_reason_to_list_it() {
        let refusal = check_names(&["train-0-of-18446744073709551615.parquet"]).unwrap_err();
        assert!(refusal.len() < 4_000, "{}", refusal.len());
    }
}
