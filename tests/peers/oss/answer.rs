//! Answers and refusals on their way to the client.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;
use time::OffsetDateTime;
use time::macros::format_description;

use super::request::encoded;

/// What is answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    is_refusal: bool,
}

impl Answer {
    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// An answer of bytes.
    pub(super) fn bytes(status: u16, body: Bytes) -> Self {
        Self { status, body, ..Self::default() }
    }

    /// An answer of a document with this root element and what lies in it.
    pub(super) fn document(root: &str, content: &str) -> Self {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{content}</{root}>");
        Self::bytes(200, Bytes::from(text)).with("content-type", "application/xml")
    }

    /// A refusal.
    pub(super) fn refused(status: u16, code: &str, message: &str) -> Self {
        let content = element("Code", code) + &element("Message", message) + &element("RequestId", "0000000000000000");
        Self { status, is_refusal: true, ..Self::document("Error", &content) }
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// What goes over the wire. Answers to HEAD have no body; a refusal then travels in a header.
    pub(super) fn into_response(mut self, method: &str) -> Response<Full<Bytes>> {
        self.headers.push(("x-oss-request-id", "0000000000000000".to_owned()));
        self.headers.push(("date", http_date(OffsetDateTime::now_utc())));
        self.headers.push(("server", "AliyunOSS".to_owned()));
        if method == "HEAD" {
            if self.is_refusal {
                self.headers.push(("x-oss-err", STANDARD.encode(&self.body)));
                self.headers.push(("x-oss-ec", "0000-00000000".to_owned()));
            }
            // The length that the body would have stays for objects, and is told by them.
            self.body = Bytes::new();
        }
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = http::StatusCode::from_u16(self.status).expect("statuses are right");
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(&value).expect("headers are text");
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
        response
    }
}

/// An element that holds text.
pub(super) fn element(name: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    format!("<{name}>{text}</{name}>")
}

/// An element that holds others.
pub(super) fn holding(name: &str, elements: &str) -> String {
    format!("<{name}>{elements}</{name}>")
}

/// An element that holds a key, in the encoding that was asked for.
pub(super) fn key_element(name: &str, key: &str, encoding: Option<&str>) -> String {
    if encoding == Some("url") { element(name, &encoded(key, "")) } else { element(name, key) }
}

/// A time as headers write it.
pub(super) fn http_date(time: OffsetDateTime) -> String {
    let form =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    time.format(form).expect("every time can be written")
}

/// A time as documents write it: with thousandths that are always nought, which one of the client libraries relies on.
pub(super) fn document_date(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].000Z");
    time.format(form).expect("every time can be written")
}
