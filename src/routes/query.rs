//! The query of a request, read parameter by parameter. Unknown parameters (`ns` of mirrors) are left alone; of a repeated
//! one that may be given once, the first counts.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::registry::PageRequest;

use super::Error;

/// Longest cursor, in bytes: longer than any name, tag or digest.
const LONGEST_CURSOR: usize = 512;

/// A query as the client wrote it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// `query` is what follows the question mark, if anything.
    pub(super) fn new(query: Option<&'a str>) -> Self {
        Self(query.unwrap_or_default())
    }

    /// Every value of `parameter`, decoded, in order.
    pub(super) fn values(self, parameter: &'static str) -> impl Iterator<Item = Cow<'a, str>> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == parameter).then(|| decode(value))
        })
    }

    /// The first value of `parameter` that is not empty, as `FormValue` of Go's servers reads it.
    pub(super) fn value(self, parameter: &'static str) -> Option<Cow<'a, str>> {
        self.values(parameter).next().filter(|value| !value.is_empty())
    }

    /// `n` and `last`. Numbers beyond what a page may hold are for the registry to cut.
    pub(super) fn page(self) -> Result<PageRequest, Error> {
        let limit = match self.value("n") {
            None => None,
            Some(text) => Some(number(&text).ok_or_else(|| Error::PageSize(shortened(&text)))?),
        };
        let after = self.value("last").map(Cow::into_owned);
        if after.as_ref().is_some_and(|last| last.len() > LONGEST_CURSOR) {
            return Err(Error::Cursor { longest: LONGEST_CURSOR });
        }
        Ok(PageRequest { after, limit })
    }
}

/// Digits only: no sign, no blanks, no overflow.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A hostile value must not fill logs and answers.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_parameters_in_any_order_and_spelling() {
        let query = Query::new(Some("ns=x&%64igest=sha256%3Aab&tag=a&tag=b%2Bc&_state=s-_&n=&flag"));
        assert_eq!(query.value("digest").as_deref(), Some("sha256:ab"));
        assert_eq!(query.values("tag").collect::<Vec<_>>(), ["a", "b+c"]);
        assert_eq!(query.value("_state").as_deref(), Some("s-_"));
        assert_eq!(query.value("n"), None);
        assert_eq!(query.value("mount"), None);
        assert_eq!(query.values("flag").count(), 1);
    }

    #[test]
    fn the_first_of_a_repeated_parameter_counts() {
        assert_eq!(Query::new(Some("digest=a&digest=b")).value("digest").as_deref(), Some("a"));
    }

    #[test]
    fn page_sizes_are_plain_numbers() {
        let limit = |query| Query::new(Some(query)).page().map(|page| page.limit);
        assert_eq!(limit("n=0").unwrap(), Some(0));
        assert_eq!(limit("n=007").unwrap(), Some(7));
        assert_eq!(limit("n=").unwrap(), None);
        for bad in ["n=-1", "n=%2B1", "n=1e3", "n=0x10", "n=1.0", "n=%201", "n=18446744073709551616", "n=\u{663}"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cursors_are_bounded() {
        let page = |length| Query::new(Some(&format!("last={}", "a".repeat(length)))).page();
        assert!(page(512).is_ok());
        assert!(page(513).is_err());
    }
}
