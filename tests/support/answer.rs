//! What a registry answered, and what tests ask of it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts an error's status and code.
    #[track_caller]
    pub fn refuses(self, status: StatusCode, code: &str) -> Self {
        let answer = self.is(status);
        assert_eq!(answer.code(), code, "{answer:?}");
        answer
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The entries of an error body, after looking at their shape.
    #[track_caller]
    pub fn errors(&self) -> Vec<Value> {
        let body = self.json();
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors in {self:?}")).clone();
        assert!(!errors.is_empty(), "{self:?}");
        for error in &errors {
            let code = error["code"].as_str().unwrap();
            assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{self:?}");
            assert!(error["message"].is_string(), "{self:?}");
        }
        errors
    }

    /// The first error code.
    #[track_caller]
    pub fn code(&self) -> String {
        self.errors()[0]["code"].as_str().unwrap().to_owned()
    }
}
