//! One client: chooses what to do, does it until it is acknowledged or time is over, and knows what must be there.
//!
//! A request without an answer leaves open what it did; what it was about counts as unknown until something about it is
//! acknowledged.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Seen;
use super::content::{Blob, Content, Kind};
use super::random::Random;
use crate::payload;
use crate::push::location;
use crate::verify;
use crate::wire::{Connection, Reuse};

/// Tags of each client in each repository.
const TAGS: usize = 6;

/// How long a client goes on with what it has begun when time is over.
const OVERTIME: Duration = Duration::from_mins(1);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers of one pull that may be cut short one after the other. A server that is killed does that once.
const CUT_SHORT: u32 = 20;

/// What stands under a tag.
#[derive(Clone)]
enum Standing {
    /// This, acknowledged.
    This(Box<Content>),
    /// Nothing.
    Nothing,
    /// One of several things.
    Unknown,
}

/// An answer, or none.
enum Answer {
    Given { status: u16, location: Option<String>, body: Vec<u8> },
    Lost,
}

type Place = (String, String);

/// See the file's head.
pub(super) struct Client<'l> {
    number: usize,
    connections: Vec<Connection>,
    repositories: usize,
    layers: &'l [Blob],
    random: Random,
    tags: BTreeMap<Place, Standing>,
    made: u64,
    seen: Seen,
    overtime: Instant,
}

impl<'l> Client<'l> {
    pub(super) fn new(
        number: usize,
        addresses: &[SocketAddr],
        repositories: usize,
        layers: &'l [Blob],
        chance: u64,
    ) -> Self {
        let connections = addresses.iter().map(|address| Connection::new(*address, Reuse::Always)).collect();
        Self {
            number,
            connections,
            repositories,
            layers,
            random: Random::new(chance),
            tags: BTreeMap::new(),
            made: 0,
            seen: Seen::default(),
            overtime: Instant::now(),
        }
    }

    /// Works until `end`, and then says what stands.
    pub(super) fn work(mut self, end: Instant) -> Seen {
        self.overtime = end + OVERTIME;
        while Instant::now() < end {
            let place = self.place();
            match self.random.below(100) {
                0..30 => {
                    let word = self.word();
                    let image = Content::own(&mut self.random, self.layers, &word);
                    self.push(&place, image);
                }
                30..45 => {
                    let image = Content::shared(&mut self.random, self.layers);
                    self.push(&place, image);
                }
                45..60 => {
                    let word = self.word();
                    let index = Content::index(&mut self.random, self.layers, &word);
                    self.push(&place, index);
                }
                60..75 => self.tag_again(&place),
                75..83 => self.delete_tag(&place),
                83..88 => self.delete_digest(&place),
                _ => self.pull(&place),
            }
        }
        self.finish()
    }

    /// What is unknown is deleted, so that what is left is known.
    fn finish(mut self) -> Seen {
        for place in self.tags.keys().cloned().collect::<Vec<_>>() {
            if matches!(self.tags.get(&place), Some(Standing::Unknown)) {
                self.seen.count("unknown tags deleted");
                self.delete_tag(&place);
            }
        }
        for ((repository, tag), standing) in &self.tags {
            match standing {
                Standing::This(content) => self.seen.standing.push(format!("{repository} {tag} {}", content.digest)),
                Standing::Nothing => {}
                Standing::Unknown => {
                    self.seen.wrong.push(format!("{repository}:{tag}: nothing about it was acknowledged"));
                }
            }
        }
        self.seen
    }

    fn word(&mut self) -> String {
        self.made += 1;
        format!("{} of client {}", self.made, self.number)
    }

    fn place(&mut self) -> Place {
        let (repository, tag) = (self.random.below(self.repositories), self.random.below(TAGS));
        (format!("churn/r{repository}"), format!("c{}-{tag}", self.number))
    }

    fn standing(&self, place: &Place) -> Standing {
        self.tags.get(place).cloned().unwrap_or(Standing::Nothing)
    }

    fn push(&mut self, place: &Place, content: Content) {
        self.tags.insert(place.clone(), Standing::Unknown);
        while Instant::now() < self.overtime {
            if self.push_once(&place.0, &place.1, &content) {
                self.seen.count("acknowledged");
                self.tags.insert(place.clone(), Standing::This(Box::new(content)));
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Everything it needs, then the manifest; whether that was acknowledged.
    fn push_once(&mut self, repository: &str, reference: &str, content: &Content) -> bool {
        let children = content.children.iter().all(|child| self.push_once(repository, &child.digest, child));
        let layers = self.layers;
        let blobs = content.layers.iter().filter_map(|number| layers.get(*number));
        let blobs = blobs.map(|layer| (layer.digest.clone(), layer.bytes.as_slice()));
        let config = (payload::digest(content.config.as_bytes()), content.config.as_bytes());
        let has_config = !content.config.is_empty();
        let mut blobs = blobs.chain(has_config.then_some(config));
        children
            && blobs.all(|(digest, bytes)| self.push_blob(repository, &digest, bytes))
            && self.put_manifest(repository, reference, content) == Put::Acknowledged
    }

    fn push_blob(&mut self, repository: &str, digest: &str, bytes: &[u8]) -> bool {
        let path = format!("/v2/{repository}/blobs/{digest}");
        match self.ask("HEAD", &path, "", &[]) {
            Answer::Given { status: 200, .. } => return true,
            Answer::Given { status: 404, .. } => {}
            other => return self.odd("HEAD blob", &other),
        }
        let begin = format!("/v2/{repository}/blobs/uploads/");
        let session = match self.ask("POST", &begin, "", &[]) {
            Answer::Given { status: 202, location: Some(session), .. } => session,
            other => return self.odd("POST", &other),
        };
        let mark = if session.contains('?') { '&' } else { '?' };
        let close = format!("{session}{mark}digest={}", digest.replace(':', "%3A"));
        match self.ask("PUT", &close, "Content-Type: application/octet-stream\r\n", &[bytes]) {
            Answer::Given { status: 201, .. } => true,
            other => self.odd("PUT blob", &other),
        }
    }

    fn put_manifest(&mut self, repository: &str, reference: &str, content: &Content) -> Put {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let kind = format!("Content-Type: {}\r\n", content.media_type);
        self.seen.count("manifests put");
        match self.ask("PUT", &path, &kind, &[content.manifest.as_bytes()]) {
            Answer::Given { status: 201, .. } => Put::Acknowledged,
            // What was there when it was asked for has been collected since.
            Answer::Given { status: 400 | 404, body, .. } if is_about_parts(&body) => {
                self.seen.count("parts collected before the manifest came");
                Put::PartsMissing
            }
            other => {
                self.odd("PUT manifest", &other);
                Put::Open
            }
        }
    }

    /// Puts what stands under `place` under another tag too, by its manifest alone.
    fn tag_again(&mut self, place: &Place) {
        let Standing::This(content) = self.standing(place) else { return };
        let other = (place.0.clone(), self.place().1);
        if other == *place {
            return;
        }
        self.tags.insert(other.clone(), Standing::Unknown);
        while Instant::now() < self.overtime {
            match self.put_manifest(&other.0, &other.1, &content) {
                Put::Acknowledged => {
                    self.seen.count("tagged again");
                    self.tags.insert(other, Standing::This(content));
                    return;
                }
                Put::PartsMissing => {
                    let what = format!("{}:{}: parts are missing of what stands there", place.0, place.1);
                    return self.seen.wrong.push(what);
                }
                Put::Open => thread::sleep(PAUSE),
            }
        }
    }

    fn delete_tag(&mut self, place: &Place) {
        let before = self.standing(place);
        if matches!(before, Standing::Nothing) {
            return;
        }
        let path = format!("/v2/{}/manifests/{}", place.0, place.1);
        let known = matches!(before, Standing::This(_));
        if self.delete(&path, known) {
            self.seen.count("tags deleted");
            self.tags.insert(place.clone(), Standing::Nothing);
        } else {
            self.tags.insert(place.clone(), Standing::Unknown);
        }
    }

    /// Deletes what stands there by its digest, and so every tag that points to it.
    fn delete_digest(&mut self, place: &Place) {
        let Standing::This(content) = self.standing(place) else { return };
        if content.kind != Kind::Own {
            return;
        }
        let points_there = |(at, standing): (&Place, &Standing)| {
            let same = matches!(standing, Standing::This(other) if other.digest == content.digest);
            (at.0 == place.0 && (same || matches!(standing, Standing::Unknown))).then(|| at.clone())
        };
        let tags: Vec<Place> = self.tags.iter().filter_map(points_there).collect();
        let gone = self.delete(&format!("/v2/{}/manifests/{}", place.0, content.digest), true);
        if gone {
            self.seen.count("manifests deleted");
        }
        for tag in tags {
            let unknown = matches!(self.tags.get(&tag), Some(Standing::Unknown));
            let standing = if gone && !unknown { Standing::Nothing } else { Standing::Unknown };
            self.tags.insert(tag, standing);
        }
    }

    /// Deletes until that is acknowledged; whether it was. What is `known` to be there must be found by the first attempt.
    fn delete(&mut self, path: &str, known: bool) -> bool {
        let mut lost = !known;
        while Instant::now() < self.overtime {
            match self.ask("DELETE", path, "", &[]) {
                Answer::Given { status: 202, .. } => return true,
                Answer::Given { status: 404, .. } => {
                    if !lost {
                        self.seen.wrong.push(format!("DELETE {path}: acknowledged, and not found"));
                    }
                    return true;
                }
                other => {
                    self.odd("DELETE", &other);
                    lost = true;
                }
            }
            thread::sleep(PAUSE);
        }
        false
    }

    /// Whatever stands there must come whole.
    fn pull(&mut self, place: &Place) {
        let Standing::This(content) = self.standing(place) else { return };
        let mut cut_short = 0;
        while Instant::now() < self.overtime && cut_short < CUT_SHORT {
            let at = self.random.below(self.connections.len());
            let Some(connection) = self.connections.get_mut(at) else { return };
            match verify::whole(connection, &place.0, &place.1, &content.digest) {
                Ok(Ok(_)) => return self.seen.count("pulled"),
                Ok(Err(fault)) if fault.contains(" 503 ") => self.seen.count("503 to a pull"),
                Ok(Err(fault)) => return self.seen.wrong.push(format!("{}:{}: {fault}", place.0, place.1)),
                Err(error) => {
                    cut_short += u32::from(error.kind() == io::ErrorKind::UnexpectedEof);
                    self.lose(at);
                }
            }
            thread::sleep(PAUSE);
        }
        self.seen.wrong.push(format!("{}:{}: no answer was whole", place.0, place.1));
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str, parts: &[&[u8]]) -> Answer {
        let at = self.random.below(self.connections.len());
        let Some(connection) = self.connections.get_mut(at) else { return Answer::Lost };
        let asked = connection.ask(method, path, headers, parts);
        if let Ok((answer, body)) = asked {
            return Answer::Given { status: answer.status(), location: location(answer).ok(), body };
        }
        self.lose(at);
        Answer::Lost
    }

    /// A connection that failed is in no state to be used again.
    fn lose(&mut self, at: usize) {
        self.seen.count("answers lost");
        if let Some(connection) = self.connections.get_mut(at) {
            connection.reset();
        }
    }

    /// Counts an answer that does not settle anything; what the server must not say is wrong.
    fn odd(&mut self, request: &str, answer: &Answer) -> bool {
        match answer {
            Answer::Lost => {}
            Answer::Given { status: 503, .. } if request == "PUT manifest" => self.seen.count("refused with 503"),
            Answer::Given { status: 429 | 503, .. } => self.seen.count("503 to something else"),
            // The session's bytes were on a replica's way when that was killed.
            Answer::Given { status: 404 | 416, .. } if request == "PUT blob" => self.seen.count("uploads begun anew"),
            Answer::Given { status, body, .. } => {
                self.seen.wrong.push(format!("{request} was answered {status}: {}", String::from_utf8_lossy(body)));
            }
        }
        false
    }
}

/// How putting a manifest ended.
#[derive(PartialEq, Eq)]
enum Put {
    Acknowledged,
    PartsMissing,
    Open,
}

fn is_about_parts(body: &[u8]) -> bool {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = parsed.pointer("/errors/0/code").and_then(Value::as_str).unwrap_or_default();
    matches!(code, "MANIFEST_BLOB_UNKNOWN" | "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN")
}
