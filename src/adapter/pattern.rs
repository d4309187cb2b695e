//! Python's regular expressions, as PEFT applies them to the names of modules.

use fancy_regex::Regex;

/// A regular expression for modules' names, as a user or an `adapter_config.json` gives it.
///
/// Python's syntax is that of `fancy-regex` as far as both go; what would mean something else is
/// refused. An expression that takes too long is an error, not a hang.
#[derive(Debug)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Matches as `re.fullmatch(source, name)`.
    ///
    /// # Errors
    /// If the expression cannot be compiled, with what is wrong with it.
    pub fn whole(source: &str) -> Result<Self, String> {
        Self::around(source, r"\A(?:", r")\z")
    }

    /// Matches as `re.match(before + source + after, name)` where these are part of the expression.
    ///
    /// # Errors
    /// As [`Pattern::whole`].
    pub fn between(before: &str, source: &str, after: &str) -> Result<Self, String> {
        Self::around(source, &format!(r"\A(?:{before}"), &format!("{after})"))
    }

    fn around(source: &str, before: &str, after: &str) -> Result<Self, String> {
        let refused = |why: &dyn std::fmt::Display| {
            format!("the regular expression {source:?} cannot be used: {why}")
        };
        if let Some(unlike) = unlike_python(source) {
            return Err(refused(&unlike));
        }
        // A comment of a verbose expression would otherwise swallow what comes after it.
        let end = if is_verbose(source) { "\n" } else { "" };
        let regex = Regex::new(&format!("{before}{source}{end}{after}"));
        Ok(Self {
            regex: regex.map_err(|error| refused(&error))?,
            source: source.to_owned(),
        })
    }

    /// Whether a module's name matches.
    ///
    /// # Errors
    /// If matching takes too many steps.
    pub fn matches(&self, name: &str) -> Result<bool, String> {
        self.regex
            .is_match(name)
            .map_err(|error| self.failed(name, &error))
    }

    /// What the group `group` matched in a name, if anything.
    ///
    /// # Errors
    /// As [`Pattern::matches`].
    pub fn group<'a>(&self, name: &'a str, group: &str) -> Result<Option<&'a str>, String> {
        let captures = self.regex.captures(name);
        let captures = captures.map_err(|error| self.failed(name, &error))?;
        Ok(captures.and_then(|found| Some(found.name(group)?.as_str())))
    }

    fn failed(&self, name: &str, error: &fancy_regex::Error) -> String {
        let source = &self.source;
        format!("the regular expression {source:?} fails on {name}: {error}")
    }
}

/// Syntax that Python reads otherwise: within brackets it knows neither nested sets nor set
/// operations, and takes their signs as characters.
fn unlike_python(source: &str) -> Option<String> {
    let mut characters = source.chars().peekable();
    let mut in_set = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '[' if !in_set => {
                in_set = true;
                characters.next_if_eq(&'^');
                // The first bracket of a set is one of its characters.
                characters.next_if_eq(&']');
            }
            ']' => in_set = false,
            '[' => return Some("a [ within brackets must be written as \\[".to_owned()),
            '&' | '-' | '~' if in_set && characters.peek() == Some(&character) => {
                return Some(format!(
                    "{character}{character} within brackets is ambiguous"
                ));
            }
            '{' if !in_set && characters.peek() == Some(&',') => {
                return Some("{,n} must be written as {0,n}".to_owned());
            }
            _ => {}
        }
    }
    None
}

/// Whether the expression begins with flags that allow comments.
fn is_verbose(source: &str) -> bool {
    let flags = source
        .strip_prefix("(?")
        .and_then(|rest| rest.split_once(')'));
    flags.is_some_and(|(flags, _)| {
        flags.contains('x') && flags.chars().all(|flag| flag.is_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "roberta.encoder.layer.1.attention.self.query";

    #[test]
    fn an_expression_matches_the_whole_name_as_pythons_fullmatch_does() {
        for (source, expected) in [
            (r".*\.attention\.self\.(query|value)", true),
            (r"query", false),
            (r".*query", true),
            (r"roberta.*|x", true),
            (r"x|roberta", false),
            (r".*layer\.(?!0\.)\d+\..*(?<=self\.)query", true),
            (r".*layer\.(?!1\.)\d+\..*query", false),
            (r"(?i).*QUERY", true),
            (r"(?P<family>ro\w+)\.(?:encoder)\..*", true),
            (r".*\.layer\.[^0]\.[a-z.]+", true),
            (r".*\.layer\.\d{1,2}\..*$", true),
            ("(?x) .* query # comment", true),
            (r".*quer[]y]", true),
            (r".*\.(\w)elf\.query", true),
        ] {
            let pattern = Pattern::whole(source).unwrap();
            assert_eq!(pattern.matches(QUERY).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_or_means_something_else_is_refused() {
        for source in [
            "(query",
            "[",
            "a**",
            "*",
            r"(?a)query",
            "[[:alpha:]]+",
            "[a-z--q]",
            "[a&&b]",
            r"(?<=a*)b",
            "x{,3}",
            "a{1000000000}",
        ] {
            let error = Pattern::whole(source).unwrap_err();
            assert!(error.contains("cannot be used"), "{source}: {error}");
        }
    }

    #[test]
    fn an_expression_that_takes_for_ever_is_an_error() {
        let pattern = Pattern::whole(r"(?:(\w|\.)(?:\1|\w|\.)?)+(?!\1)x").unwrap();
        let error = pattern.matches(&(QUERY.repeat(20) + "x.")).unwrap_err();
        assert!(error.contains("fails on"), "{error}");
    }

    #[test]
    fn nesting_and_repetition_are_bounded() {
        let nested = format!("{}a{}", "(".repeat(50_000), ")".repeat(50_000));
        for source in [nested.as_str(), r"(?=a)(((a{900}){900}){900}){900}"] {
            // What is refused and what merely does not match is up to the library.
            if let Ok(pattern) = Pattern::whole(source) {
                assert_ne!(pattern.matches(QUERY), Ok(true));
            }
        }
    }

    #[test]
    fn a_group_tells_what_it_matched() {
        let pattern = Pattern::between(r"(?:^|.*?\.)", "layer", r"\.(?P<number>\d+)\.").unwrap();
        assert_eq!(pattern.group(QUERY, "number").unwrap(), Some("1"));
        assert_eq!(pattern.group("classifier.dense", "number").unwrap(), None);
    }
}
