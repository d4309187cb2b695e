//! The methods of aggregation, a file each with its code and its row, and the table of the rows.

pub mod fedex;
pub mod fedit;
pub mod fedsvd;
pub mod ffa;
pub mod flora;
pub mod info;
pub mod rolora;
pub mod sorf;

use crate::aggregate::methods::info::MethodInfo;

/// All methods that can be asked for by name. A new one adds its line here.
pub static METHODS: &[&MethodInfo] = &[
    &fedit::INFO,
    &ffa::INFO,
    &fedex::LORA,
    &fedex::VERA,
    &sorf::REFIT,
    &sorf::EXACT_REFIT,
    &fedsvd::INFO,
    &flora::INFO,
    &rolora::INFO,
];

/// The method that has this name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static MethodInfo> {
    METHODS.iter().copied().find(|info| info.is_called(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_rows_are_consistent() {
        let mut names = BTreeSet::new();
        for info in METHODS {
            for name in info.aliases.iter().chain([&info.name]) {
                assert!(names.insert(*name), "{name} is the name of two methods");
                assert_eq!(find(name).unwrap().name, info.name);
            }
            let texts = [info.title, info.paper, info.help, info.without_delta];
            assert!(texts.iter().all(|text| !text.is_empty()), "{info:?}");
            assert!(!info.adapters.is_empty(), "{info:?}");
            let takes_all = info.adapters.len() == 3;
            assert_eq!(takes_all, info.why_these_adapters.is_empty(), "{info:?}");
            assert_eq!(info.takes_stale, info.why_not_stale.is_empty(), "{info:?}");
        }
        assert!(find("fedavg").is_none());
    }
}
