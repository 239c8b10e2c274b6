//! Upload sessions whose digest comes last: bytes go to chunk objects, which are put together when the digest is known.
//!
//! Nothing is asked of the store when a session is taken up: its state says everything, and that something is gone is told
//! when it is needed.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::buffer::Buffer;
use super::hold::Hold;
use super::parts::Flight;
use super::state::{MOST_SEGMENTS, Segment, State, Superseded, Tail, stale};
use super::{Payload, Store, background, chunks, keys, not_found, publish, read, segments};
use crate::storage::driver::{StagedWrite, WriteMode};
use crate::storage::error::Result;
use crate::storage::layout::StoragePath;

/// Bytes read at once when a session is read back, which is done from its beginning to its end.
const READ_BACK: u64 = 4 * 1024 * 1024;

/// A session as one request holds it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) store: Arc<Store>,
    hold: Hold,
    /// As it was taken up.
    pub(super) state: State,
    /// Names what this request writes.
    nonce: u64,
    /// Full chunks that this request sent.
    sent: u32,
    /// What came after the last chunk and is not in the buffer.
    pub(super) tail: Option<Tail>,
    pub(super) buffer: Buffer,
    flight: Flight<()>,
    written: Arc<Written>,
    /// Bytes read back, and where they begin.
    recent: (u64, Bytes),
}

/// What this request wrote. Unless a state names it, it is removed when the request and what it sent have ended.
#[derive(Debug)]
struct Written {
    store: Arc<Store>,
    keys: Mutex<Vec<String>>,
    needed: AtomicBool,
}

impl Written {
    async fn put(self: Arc<Self>, key: String, content: Payload) -> Result<()> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
        self.store.service.put(&key, content, WriteMode::Overwrite).await
    }

    fn keys(&self) -> Vec<String> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.needed.load(Ordering::Acquire) {
            background::delete(&self.store, self.keys());
        }
    }
}

impl Session {
    /// The session that `hold` is for, as `state` says it stands.
    pub(super) fn new(store: &Arc<Store>, hold: Hold, state: State) -> Self {
        let written = Written { store: Arc::clone(store), keys: Mutex::default(), needed: AtomicBool::new(false) };
        Self {
            store: Arc::clone(store),
            hold,
            nonce: rand::random(),
            sent: 0,
            tail: state.tail,
            buffer: Buffer::default(),
            flight: Flight::new(&store.pool),
            written: Arc::new(written),
            recent: (0, Bytes::new()),
            state,
        }
    }

    pub(super) fn key(&self) -> &str {
        self.hold.key()
    }

    /// Full chunks, those also that are under way.
    fn chunks(&self) -> u32 {
        self.state.chunks().saturating_add(self.sent)
    }

    /// The keys of all full chunks.
    pub(super) async fn chunk_keys(&self) -> Result<Vec<String>> {
        let mut segments = segments::all(&self.store, self.key(), &self.state).await?;
        segments.extend(self.own());
        Ok(segments::chunk_keys(self.key(), &segments))
    }

    fn own(&self) -> Option<Segment> {
        (self.sent > 0).then_some(Segment { nonce: self.nonce, chunks: self.sent })
    }

    /// Makes the tail the beginning of what is gathered.
    async fn take_tail(&mut self) -> Result<()> {
        let Some(tail) = self.tail else { return Ok(()) };
        let content = read::whole(&*self.store.service, &segments::tail(self.key(), tail.nonce), tail.bytes).await?;
        if content.len() as u64 != tail.bytes {
            return Err(stale(self.key(), "its last bytes are not the ones that were written"));
        }
        self.tail = None;
        self.buffer.fill(&content, tail.bytes);
        Ok(())
    }

    /// Sends what is gathered as the next chunk.
    async fn send_chunk(&mut self) -> Result<()> {
        let index = self.chunks();
        chunks::check(index, self.state.part, self.key())?;
        let key = segments::chunk(self.key(), self.nonce, index);
        let sending = Arc::clone(&self.written).put(key, self.buffer.take());
        self.sent += 1;
        self.flight.send(index, chunks::weight(index), sending).await
    }

    /// Sends what is gathered as a chunk, if it makes one, or as the tail.
    async fn send_rest(&mut self) -> Result<()> {
        if self.buffer.length() == chunks::size(self.chunks(), self.state.part) {
            return self.send_chunk().await;
        }
        if self.buffer.length() > 0 {
            self.tail = Some(Tail { nonce: self.nonce, bytes: self.buffer.length() });
            let key = segments::tail(self.key(), self.nonce);
            Arc::clone(&self.written).put(key, self.buffer.take()).await?;
        }
        Ok(())
    }

    /// The state in which everything that was appended is named.
    async fn next_state(&self) -> Result<State> {
        let mut next = State { tail: self.tail, superseded: Superseded::default(), ..self.state.clone() };
        next.segments.extend(self.own());
        if self.state.tail != self.tail {
            next.superseded.tail = self.state.tail.map(|tail| tail.nonce);
        }
        if next.segments.len() > MOST_SEGMENTS {
            let all = segments::all(&self.store, self.key(), &next).await?;
            let key = segments::list(self.key(), self.nonce);
            Arc::clone(&self.written).put(key, segments::listed(&all).into()).await?;
            next.superseded.folded = next.folded.map(|folded| folded.nonce);
            next.folded = Some(Segment { nonce: self.nonce, chunks: next.chunks() });
            next.segments.clear();
        }
        Ok(next)
    }

    /// The stored object that holds the byte at `offset`, and from which byte of the session to which.
    async fn holding(&self, offset: u64) -> Result<(String, Range<u64>)> {
        let (index, part) = (chunks::holding(offset, self.state.part), self.state.part);
        let start = chunks::length(index, part);
        let keys = self.chunk_keys().await?;
        match (keys.into_iter().nth(index as usize), self.tail) {
            (Some(key), _) => Ok((key, start..start + chunks::size(index, part))),
            (None, Some(tail)) => Ok((segments::tail(self.key(), tail.nonce), start..start + tail.bytes)),
            (None, None) => Err(not_found(self.key())),
        }
    }

    /// Some of the stored bytes from `offset` on.
    async fn stored(&mut self, offset: u64) -> Result<Bytes> {
        let (start, recent) = &self.recent;
        let within = offset.checked_sub(*start).and_then(|at| usize::try_from(at).ok());
        if let Some(at) = within.filter(|at| *at < recent.len()) {
            return Ok(recent.slice(at..));
        }
        self.flight.land().await?;
        let (key, object) = self.holding(offset).await?;
        let range = offset - object.start..(object.end - object.start).min(offset - object.start + READ_BACK);
        let length = range.end - range.start;
        let content = read::range(&self.store.service, &key, range).await?;
        if content.len() as u64 != length {
            return Err(stale(self.key(), "a chunk is shorter than was written"));
        }
        self.recent = (offset, content.clone());
        Ok(content)
    }

    /// Everything that lies in the store of this session.
    async fn objects(&self) -> Result<Vec<String>> {
        let mut named = segments::objects(&self.store, self.key(), &self.state).await?;
        named.extend(self.written.keys());
        Ok(named)
    }
}

#[async_trait]
impl StagedWrite for Session {
    fn length(&self) -> u64 {
        let tail = self.tail.map_or(0, |tail| tail.bytes);
        chunks::length(self.chunks(), self.state.part) + tail + self.buffer.length()
    }

    async fn append(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        self.hold.check()?;
        self.flight.look()?;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            self.take_tail().await?;
            let mut rest = &**piece;
            while !rest.is_empty() {
                let size = chunks::size(self.chunks(), self.state.part);
                // A full chunk is sent when more comes: what fits one and ends there needs no chunk at all.
                if self.buffer.length() >= size {
                    self.send_chunk().await?;
                    continue;
                }
                rest = self.buffer.fill(rest, size);
            }
        }
        Ok(())
    }

    async fn read_back(&mut self, range: Range<u64>) -> Result<Bytes> {
        let gathered_from = self.length() - self.buffer.length();
        let end = range.end.min(self.length());
        let mut content = Vec::new();
        let mut position = range.start;
        while position < end.min(gathered_from) {
            let mut stored = self.stored(position).await?;
            stored.truncate(usize::try_from(end - position).unwrap_or(usize::MAX));
            position += stored.len() as u64;
            content.extend_from_slice(&stored);
        }
        if position < end {
            content.extend(self.buffer.copy(position - gathered_from..end - gathered_from));
        }
        Ok(content.into())
    }

    async fn suspend(mut self: Box<Self>) -> Result<Vec<u8>> {
        self.hold.check()?;
        self.send_rest().await?;
        self.flight.land().await?;
        let state = self.next_state().await?;
        // A session that was discarded meanwhile leaves nothing.
        self.hold.check()?;
        if state != self.state {
            self.written.needed.store(true, Ordering::Release);
            let superseded = State { superseded: self.state.superseded, ..State::new(1) };
            background::delete(&self.store, segments::objects(&self.store, self.key(), &superseded).await?);
        }
        Ok(state.encode())
    }

    async fn publish(mut self: Box<Self>, path: &StoragePath) -> Result<()> {
        self.hold.check()?;
        self.flight.land().await?;
        let target = self.store.key(path);
        publish::publish(&mut self, &target).await?;
        // From here on the content is safe, so nothing that goes wrong may fail the push.
        match self.objects().await {
            Ok(objects) => background::delete(&self.store, objects),
            Err(error) => tracing::warn!(%error, "the chunks of a published upload stay until upload purging"),
        }
        Ok(())
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        // What is under way must not arrive after the removal.
        self.flight.end().await;
        keys::delete(&*self.store.service, self.objects().await?).await
    }
}
