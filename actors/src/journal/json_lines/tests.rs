use std::collections::BTreeMap;
use std::io::Write;

use super::*;

type Value = BTreeMap<String, u32>;

fn parse(line: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(line)
}

/// A file with these bytes, open to be read, with lines of up to 64 bytes.
fn lines(bytes: &[u8]) -> JsonLines {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    JsonLines {
        longest: 64,
        ..JsonLines::open(file.path()).unwrap()
    }
}

/// The values of such a file, and the error that they end with.
fn values(bytes: &[u8]) -> (Vec<u32>, Option<String>) {
    let mut lines = lines(bytes);
    let mut found = Vec::new();
    while let Some(value) = lines.next_with(parse) {
        match value {
            Ok(value) => found.extend(value.into_values()),
            Err(error) => return (found, Some(error.to_string())),
        }
    }
    (found, None)
}

const ONE: &[u8] = b"{\"a\":1}\n";

fn after_one(rest: &[u8]) -> (Vec<u32>, Option<String>) {
    values(&[ONE, rest].concat())
}

#[test]
fn a_file_that_ends_at_any_byte_gives_the_lines_before() {
    let line = "{\"Zürich\":1}\n".as_bytes();
    let text = [line, line].concat();
    for end in 0..=text.len() {
        // The newline itself may be missing.
        let expected = (end + 1) / line.len();
        let (found, error) = values(&text[..end]);
        assert_eq!((found.len(), error), (expected, None), "cut at {end}");
    }
}

#[test]
fn a_last_line_that_is_whole_but_for_its_newline_counts() {
    assert_eq!(after_one(b"{\"a\":2}"), (vec![1, 2], None));
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark_do_no_harm() {
    let text = b"\xef\xbb\xbf{\"a\":1}\r\n{\"a\":2}\r\n";
    assert_eq!(values(text), (vec![1, 2], None));
    // Anywhere else such a mark is damage.
    let (found, error) = after_one(b"\xef\xbb\xbf{\"a\":2}\n{\"a\":3}\n");
    assert_eq!(found, [1]);
    assert!(error.unwrap().contains("line 2"));
}

#[test]
fn what_a_power_cut_leaves_behind_the_last_line_does_not_count() {
    for rest in [
        &b""[..],
        b"\n\n",
        b" \r\n",
        &[0; 1000],
        b"\0\0\0\n\0\0",
        b"\0\0{\"a\":2}\n",
        b"{\"a\":",
        b"{\"a\":\n",
        b"{\"a\":2\0\0\0\0",
        b"\xc3",
        b"{\"a\":2}}\n",
    ] {
        assert_eq!(after_one(rest), (vec![1], None), "{rest:?}");
    }
}

#[test]
fn a_damaged_line_with_something_behind_it_is_an_error_that_names_file_and_line() {
    for damaged in [
        &b"\n"[..],
        b"{\"a\":\n",
        b"\0\0\0\0\n",
        b"\0\0\0{\"a\":2}\n",
        b"{\"a\":2}{\"a\":2}\n",
        b"{\"a\":\"\xc3\"}\n",
        b"{\"a\":-2}\n",
        &[b"\"", &[b'x'; 100][..], b"\"\n"].concat(),
    ] {
        let (found, error) = after_one(&[damaged, b"{\"a\":3}\n"].concat());
        let error = error.expect("it was passed over");
        assert_eq!(found, [1], "{damaged:?}");
        assert!(error.contains("understand line 2 of /"), "{error}");
    }
}

#[test]
fn a_last_line_that_is_whole_but_says_something_else_is_an_error() {
    let (found, error) = after_one(b"{\"a\":-2}\n");
    assert_eq!(found, [1]);
    assert!(error.unwrap().contains("line 2"));
}

#[test]
fn a_line_that_is_too_long_is_not_kept_in_memory() {
    let mut lines = lines(&[ONE, &[0; 1 << 20]].concat());
    assert!(lines.next_with(parse).unwrap().is_ok());
    assert!(lines.next_with(parse).is_none());
    assert!(lines.line.capacity() < 1 << 10);
    assert!(lines.next_with(parse).is_none());
}

#[test]
fn an_empty_file_has_no_lines_and_one_that_is_not_there_is_an_error() {
    assert_eq!(values(b""), (vec![], None));
    let error = read::<Value>(Path::new("/none/x.jsonl")).map(|_| ());
    assert!(error.unwrap_err().to_string().contains("/none/x.jsonl"));
}
