//! Bad input as data: every row of `data/hostile.tsv` is sent to a registry that holds one image and one upload session,
//! and must get its error and leave both as they were.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use serde_json::json;
use support::{Answer, Berth, Driver, Image, OCI_INDEX, digest, image, index, with};

const ROWS: &str = include_str!("data/hostile.tsv");

/// What the rows are sent to.
struct Target {
    berth: Berth,
    image: Image,
    files: Vec<String>,
    other_session: String,
    foreign_session: String,
}

struct Row<'a> {
    number: usize,
    method: &'a str,
    target: &'a str,
    headers: &'a str,
    body: &'a str,
    status: u16,
    code: &'a str,
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    let lines = ROWS.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("# "));
    lines.map(|(index, line)| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [method, target, headers, body, status, code] = fields[..] else {
            panic!("line {}: {} fields", index + 1, fields.len())
        };
        Row { number: index + 1, method, target, headers, body, status: status.parse().unwrap(), code }
    })
}

impl Target {
    async fn new(driver: Driver) -> Self {
        let berth = Berth::new(driver);
        let image = berth.push_image("victim", "latest", b"layer").await;
        let other_session = berth.begin("victim").await;
        let foreign_session = berth.begin("other").await;
        let files = berth.files();
        Self { berth, image, files, other_session, foreign_session }
    }

    /// A session of its own for each row, with five bytes in it.
    async fn session(&self) -> String {
        let begun = self.berth.begin("victim").await;
        let answer = self.berth.patch(&begun, "01234").await.is(StatusCode::ACCEPTED);
        answer.header("location").to_owned()
    }

    /// Puts in what `$(…)` stands for.
    fn filled(&self, text: &str, session: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("$(") {
            filled.push_str(before);
            let (name, after) = after.split_once(')').expect("a closed placeholder");
            filled.push_str(&self.value(name, session));
            rest = after;
        }
        filled + rest
    }

    fn value(&self, name: &str, session: &str) -> String {
        let (path, state) = session.split_once("?_state=").unwrap();
        let state_of = |location: &str| location.split_once("?_state=").unwrap().1.to_owned();
        if let Some((text, count)) = name.rsplit_once('*') {
            return text.repeat(count.parse().unwrap());
        }
        if let Some((what, at)) = name.split_once(':') {
            let at: isize = at.parse().unwrap();
            let at = if at < 0 { state.len().checked_add_signed(at).unwrap() } else { at.unsigned_abs() };
            return match what {
                "flip" => {
                    let other = if &state[at..=at] == "A" { "B" } else { "A" };
                    format!("{}{other}{}", &state[..at], &state[at + 1..])
                }
                "cut" => state[..at].to_owned(),
                _ => panic!("no such placeholder: {name}"),
            };
        }
        match name {
            "session" => session.to_owned(),
            "id" => path.rsplit_once('/').unwrap().1.to_owned(),
            "state" => state.to_owned(),
            "other" => state_of(&self.other_session),
            "foreign" => state_of(&self.foreign_session),
            "blob" => self.image.layer.clone(),
            "config" => self.image.config.clone(),
            "manifest" => self.image.digest.clone(),
            "missing" => digest(b"never pushed"),
            _ => panic!("no such placeholder: {name}"),
        }
    }

    fn body(&self, spec: &str, session: &str) -> Body {
        let (kind, argument) = spec.split_once(' ').unwrap_or((spec, ""));
        let count = || argument.parse::<usize>().unwrap();
        let indexed =
            |member: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],{member}}}"#);
        let bytes: Vec<u8> = match kind {
            "-" => Vec::new(),
            "text" => self.filled(argument, session).into(),
            "bytes" => hex::decode(argument).unwrap(),
            "manifest" => self.image.manifest.clone(),
            "image-of" => image(&self.image.config, &[(&self.filled(argument, session), 5)], None),
            "index-of" => index(&[(&self.filled(argument, session), 5)]),
            "index-with" => indexed(&self.filled(argument, session)).into(),
            "spaces" => b" ".repeat(count()),
            "string" => indexed(&format!(r#""annotations":{{"a":"{}"}}"#, "x".repeat(count()))).into(),
            "nested" => indexed(&format!(r#""x":{}{}"#, "[".repeat(count()), "]".repeat(count()))).into(),
            "unclosed" => b"[".repeat(count()),
            "chunked" => return Body::new(Unsized(self.body(argument, session))),
            "broken" => {
                let gone = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "gone");
                return Body::from_stream(stream::iter([Ok(Bytes::from(b"x".repeat(count()))), Err(gone)]));
            }
            _ => panic!("no such body: {spec}"),
        };
        bytes.into()
    }

    fn request(&self, row: &Row<'_>, session: &str) -> Request<Body> {
        let method = Method::from_bytes(self.filled(row.method, session).as_bytes()).unwrap();
        let mut request = Request::builder().method(method).uri(self.filled(row.target, session));
        for header in row.headers.split(" | ").filter(|headers| *headers != "-") {
            let (name, value) = header.split_once(": ").unwrap_or_else(|| panic!("line {}: {header}", row.number));
            let value = HeaderValue::from_bytes(&unescaped(&self.filled(value, session))).unwrap();
            request = request.header(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        request.body(self.body(row.body, session)).unwrap_or_else(|error| panic!("line {}: {error}", row.number))
    }

    /// What a row changed, if anything.
    async fn damage(&self, row: &Row<'_>, session: &str) -> Option<String> {
        assert_eq!(self.berth.files(), self.files, "line {}: something was stored", row.number);
        let uses_session = row.target.contains("$(session)") || row.target.contains("$(id)");
        // A digest that the bytes do not have ends a session: the bytes are not what the client takes them for.
        let ended = row.code == "DIGEST_INVALID" && row.target.contains("digest=$(missing)");
        if !uses_session || ended {
            return None;
        }
        let status = self.berth.get(session).await;
        let stands = status.headers.get("range").is_some_and(|range| range == "0-4");
        let intact = status.status == StatusCode::NO_CONTENT && stands;
        (!intact).then(|| format!("line {}: {:.80}: the session is {status:?}", row.number, row.headers))
    }
}

/// Takes the known length from a body, as `Transfer-Encoding: chunked` does.
struct Unsized(Body);

impl http_body::Body for Unsized {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(context)
    }
}

/// `\xNN` is a byte.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// What is wrong with an answer, if anything.
fn complaint(row: &Row<'_>, answer: &Answer) -> Option<String> {
    let silent = row.method == "HEAD";
    let code = if row.code == "-" || silent || answer.status.is_success() { "-".to_owned() } else { answer.code() };
    let expected = if silent { "-" } else { row.code };
    let about = format!("line {}: {} {:.80} {:.80} {:.60}", row.number, row.method, row.target, row.headers, row.body);
    let evil = answer.headers.iter().find(|(name, value)| {
        name.as_str().contains("evil") || String::from_utf8_lossy(value.as_bytes()).to_lowercase().contains("evil")
    });
    if let Some(header) = evil {
        return Some(format!("{about}: {header:?} comes from the client"));
    }
    if answer.status.as_u16() == row.status && code == expected {
        return None;
    }
    let body = String::from_utf8_lossy(&answer.body);
    Some(format!("{about}: expected {} {expected}, got {} {body:.200}", row.status, answer.status))
}

on_every_driver! {
    async fn every_row_gets_its_error_and_leaves_everything_as_it_was(driver) {
        let target = Target::new(driver).await;
        let mut wrong = Vec::new();
        let mut count = 0;
        for row in rows() {
            let session = target.session().await;
            let answer = target.berth.send(target.request(&row, &session)).await;
            wrong.extend(complaint(&row, &answer));
            wrong.extend(target.damage(&row, &session).await);
            target.berth.delete(&session).await;
            count += 1;
        }
        assert!(count >= 500, "only {count} rows");
        assert!(wrong.is_empty(), "{} of {count} rows are answered otherwise:\n{}", wrong.len(), wrong.join("\n"));
        assert_eq!(target.berth.get("/v2/_catalog").await.json(), json!({ "repositories": ["victim"] }));
        assert_eq!(target.berth.get("/v2/victim/tags/list").await.json()["tags"], json!(["latest"]));
        let pulled = target.berth.get("/v2/victim/manifests/latest").await.is(StatusCode::OK);
        assert_eq!(pulled.body, target.image.manifest);
        let closing = with(&target.other_session, &format!("digest={}", digest(b"x")));
        target.berth.put(&closing, "x").await.is(StatusCode::CREATED);
    }
}
