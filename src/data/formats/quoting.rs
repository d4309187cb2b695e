//! Whether the quotation marks of comma-separated values are those of RFC 4180. The reader takes any:
//! a mark that is not closed takes in all that follows, and one that is closed within a field loses
//! its marks, so that texts would be others than the file has.

/// A record whose quotation marks are wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misquoted {
    /// The line that the record begins in.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// What a field with marks is to look like.
const RIGHT: &str = "a field with a quotation mark in it is put in quotation marks, and its own are \
                     doubled";

/// Where a byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// At the beginning of a field.
    Start,
    /// In a field without marks around it.
    Plain,
    /// Between the marks of a field.
    Quoted,
    /// After a mark that closes a field, unless another follows.
    Closed,
}

/// Checks whole records.
pub(crate) fn check(records: &[u8]) -> Result<(), Misquoted> {
    let (mut within, mut line, mut first_line) = (Within::Start, 1, 1);
    for byte in records {
        within = match (within, byte) {
            (Within::Quoted, b'"') => Within::Closed,
            (Within::Quoted, _) | (Within::Start | Within::Closed, b'"') => Within::Quoted,
            (_, b',' | b'\r' | b'\n') => Within::Start,
            (Within::Closed, _) => {
                return Err(Misquoted {
                    line: first_line,
                    reason: format!(
                        "text follows the quotation mark that closes a field{}; {RIGHT}",
                        match line > first_line {
                            true => format!(", in line {line}"),
                            false => String::new(),
                        }
                    ),
                });
            }
            (Within::Start | Within::Plain, _) => Within::Plain,
        };
        if *byte == b'\n' {
            line += 1;
            if within != Within::Quoted {
                first_line = line;
            }
        }
    }
    match within {
        Within::Quoted => Err(Misquoted {
            line: first_line,
            reason: format!("a quotation mark is not closed; {RIGHT}"),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_around_fields_and_doubled_within_them_are_right_and_others_text() {
        for right in [
            "",
            "a,b\n1,2",
            "\"a\",\"b\"\r\n\"1, \"\"2\"\"\",\"\"\r\n",
            "a,5\" x\n\"two\nlines\",\"\"\"\"\n",
            "\"a\"\r\"b\"\r",
        ] {
            assert_eq!(check(right.as_bytes()), Ok(()), "{right:?}");
        }
    }

    #[test]
    fn a_mark_that_is_not_closed_or_is_before_text_is_found_with_its_records_line() {
        for (wrong, line, reason) in [
            ("a,b\n\"1,2\n3,4\n", 2, "is not closed"),
            ("a,b\n1,2\n3,\"4\"\"\n5,6", 3, "is not closed"),
            ("a\n\"he said \"hi\" to\"\n", 2, "closes a field; "),
            ("a\n1\n\"2\n3\n\"4\"\n", 3, "closes a field, in line 5; "),
            ("a,b\n\"1\" ,2\n", 2, "closes a field; "),
        ] {
            let found = check(wrong.as_bytes()).unwrap_err();
            assert_eq!(found.line, line, "{wrong:?}");
            assert!(found.reason.contains(reason), "{found:?}");
        }
    }
}
