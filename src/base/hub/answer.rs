//! What the headers of an answer say of a file.

use ureq::Body;
use ureq::http::{HeaderMap, Response};

use crate::base::hub::error::FetchError;
use crate::base::hub::names::{Commit, ETag, shown};

/// What the hub says of a file, in the headers of its responses.
#[derive(Debug, Default)]
pub(crate) struct FileHeaders {
    linked_etag: Option<String>,
    own_etag: Option<String>,
    commit: Option<String>,
    /// The length of a file that is stored elsewhere.
    pub length: Option<u64>,
}

impl FileHeaders {
    /// Takes what the headers of a further answer say.
    pub fn note(&mut self, headers: &HeaderMap) {
        let get = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let later = |old: &mut Option<String>, new: Option<String>| {
            if new.is_some() {
                *old = new;
            }
        };
        later(&mut self.linked_etag, get("x-linked-etag"));
        later(&mut self.own_etag, get("etag"));
        later(&mut self.commit, get("x-repo-commit"));
        let length = get("x-linked-size").and_then(|text| text.parse().ok());
        self.length = length.or(self.length);
    }

    /// The tag that names the file's content.
    pub fn etag(&self) -> Result<ETag, FetchError> {
        // A large file's own tag is that of the answer which gives its location.
        let tag = self.linked_etag.as_ref().or(self.own_etag.as_ref());
        let tag = tag.ok_or_else(|| FetchError::Final("the response has no ETag".to_owned()))?;
        ETag::parse(tag)
            .ok_or_else(|| FetchError::Final(format!("its ETag, {}, names no file", shown(tag))))
    }

    /// Rejects a file of another commit than the one requested.
    pub fn check_commit(&self, wanted: &Commit) -> Result<(), FetchError> {
        match &self.commit {
            Some(found) if found != wanted.as_str() => Err(FetchError::Final(format!(
                "it is from commit {}, not {}",
                shown(found),
                wanted.as_str()
            ))),
            _ => Ok(()),
        }
    }
}

/// Where an answer's bytes begin, and how long the whole file is.
pub(crate) fn extent(
    response: &Response<Body>,
    linked: Option<u64>,
) -> Result<(u64, u64), FetchError> {
    let headers = response.headers();
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    if let Some(encoding) = text("content-encoding").filter(|it| *it != "identity") {
        let encoding = shown(encoding);
        return Err(FetchError::Final(format!(
            "the response is compressed ({encoding})"
        )));
    }
    let (start, length) = if response.status().as_u16() == 206 {
        text("content-range")
            .and_then(content_range)
            .ok_or_else(|| FetchError::Final("the partial response has no range".to_owned()))?
    } else {
        let length = text("content-length").and_then(|it| it.parse().ok());
        (0, length.or(linked))
    };
    match (length, linked) {
        (Some(length), Some(linked)) if length != linked => Err(FetchError::Final(format!(
            "it should have {linked} bytes, but {length} were sent"
        ))),
        (Some(length), _) | (None, Some(length)) => Ok((start, length)),
        (None, None) => Err(FetchError::Final("the response has no length".to_owned())),
    }
}

/// Reads `bytes FIRST-LAST/LENGTH`; the length may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let length = match length {
        "*" => None,
        length => Some(length.parse().ok()?),
    };
    Some((first.parse().ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_tells_where_its_bytes_begin() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for text in ["", "bytes */10", "bytes -5/10", "bytes 5-9/x", "5-9/10"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
