//! Writes whose place is known from the beginning: the bytes go to their final key at once and become visible there when
//! they are published.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::buffer::Buffer;
use super::multipart::OpenMultipart;
use super::parts::Flight;
use super::{PartTag, Store, chunks, read, refused};
use crate::storage::driver::{StagedWrite, WriteMode};
use crate::storage::error::{Error, Result, Retry};
use crate::storage::layout::StoragePath;

/// A write to `key`.
#[derive(Debug)]
pub(super) struct Direct {
    store: Arc<Store>,
    key: String,
    part: u64,
    length: u64,
    announced: Option<u64>,
    place: Place,
    buffer: Buffer,
    flight: Flight<PartTag>,
    sent: u32,
}

/// What is known of the place at which the bytes shall lie.
#[derive(Debug)]
enum Place {
    /// Nothing; nobody asked.
    Unknown,
    /// The store is being asked.
    Asked(JoinHandle<Option<u64>>),
    /// All of it lies there already: bytes are only counted.
    Taken,
    /// It is free, or holds something else.
    Free,
    /// Parts are on their way.
    Filling(Arc<OpenMultipart>),
}

impl Direct {
    /// Begins a write to `key` of `announced` bytes, if that is known.
    pub(super) fn new(store: &Arc<Store>, key: String, announced: Option<u64>) -> Self {
        let mut direct = Self {
            store: Arc::clone(store),
            part: store.service.limits().part.max(1),
            length: 0,
            announced,
            place: Place::Unknown,
            buffer: Buffer::default(),
            flight: Flight::new(&store.pool),
            sent: 0,
            key,
        };
        if announced.is_some() {
            direct.ask();
        }
        direct
    }

    /// Asks the store what lies there, while bytes arrive. A failure is taken for nothing: writing will tell.
    fn ask(&mut self) {
        let (store, key) = (Arc::clone(&self.store), self.key.clone());
        self.place = Place::Asked(tokio::spawn(async move { store.size(&key).await.ok().flatten() }));
    }

    /// Waits for what was asked. Bytes gathered are forgotten if all of `length` lies there.
    async fn learn(&mut self, length: u64) {
        let Place::Asked(asked) = &mut self.place else { return };
        let there = asked.await.ok().flatten();
        self.place = if there == Some(length) { Place::Taken } else { Place::Free };
        if matches!(self.place, Place::Taken) {
            self.buffer.take();
        }
    }

    /// Sends what is gathered as the next part.
    async fn send_part(&mut self) -> Result<()> {
        chunks::check(self.sent, self.part, &self.key)?;
        let upload = if let Place::Filling(upload) = &self.place {
            Arc::clone(upload)
        } else {
            let upload = OpenMultipart::begin(&self.store, &self.key).await?;
            self.place = Place::Filling(Arc::clone(&upload));
            upload
        };
        let (index, payload) = (self.sent, self.buffer.take());
        self.sent += 1;
        let store = Arc::clone(&self.store);
        let part = async move { store.service.upload_part(upload.upload(), index + 1, payload).await };
        self.flight.send(index, chunks::weight(index), part).await
    }

    /// Whether what is asked before it can be answered has been: then the bytes need not be gathered.
    async fn look(&mut self) -> Result<()> {
        self.flight.look()?;
        if let (Place::Asked(asked), Some(length)) = (&self.place, self.announced)
            && asked.is_finished()
        {
            self.learn(length).await;
        }
        Ok(())
    }

    async fn gather(&mut self, chunk: &[u8]) -> Result<()> {
        let mut rest = chunk;
        while !rest.is_empty() && !matches!(self.place, Place::Taken) {
            let size = chunks::size(self.sent, self.part);
            if self.buffer.length() >= size {
                if let Some(length) = self.announced {
                    self.learn(length).await;
                }
                if !matches!(self.place, Place::Taken) {
                    self.send_part().await?;
                }
                continue;
            }
            rest = self.buffer.fill(rest, size);
        }
        self.length += chunk.len() as u64;
        Ok(())
    }

    /// Makes the bytes the object.
    pub(super) async fn finish(&mut self) -> Result<()> {
        if let Place::Filling(upload) = &self.place {
            let upload = Arc::clone(upload);
            return self.complete(&upload).await;
        }
        if matches!(self.place, Place::Taken) && self.announced != Some(self.length) {
            let reason = "fewer or more bytes came than were announced";
            return Err(refused("write", &self.key, Retry::Later, reason));
        }
        self.put().await
    }

    /// Makes an object of what was gathered, if there is no such object yet.
    async fn put(&mut self) -> Result<()> {
        if matches!(self.place, Place::Unknown) {
            self.ask();
        }
        self.learn(self.length).await;
        match self.place {
            Place::Taken => Ok(()),
            _ => self.store.service.put(&self.key, self.buffer.take(), WriteMode::Overwrite).await,
        }
    }

    async fn complete(&mut self, upload: &OpenMultipart) -> Result<()> {
        if self.buffer.length() > 0 {
            self.send_part().await?;
        }
        let tags = self.flight.land().await?;
        upload.complete(&tags, self.length).await
    }
}

#[async_trait]
impl StagedWrite for Direct {
    fn length(&self) -> u64 {
        self.length
    }

    async fn append(&mut self, chunks: Vec<Bytes>) -> Result<()> {
        self.look().await?;
        for chunk in chunks {
            self.gather(&chunk).await?;
        }
        Ok(())
    }

    /// Only bytes that were not sent yet can be looked at again: parts of an upload under way cannot be read.
    async fn read_back(&mut self, range: Range<u64>) -> Result<Bytes> {
        if matches!(self.place, Place::Taken) {
            return read::range(&self.store.service, &self.key, range).await;
        }
        let sent = chunks::length(self.sent, self.part);
        if range.start < sent {
            let reason = "parts that were sent to where they stay cannot be read before they are published";
            return Err(refused("read", &self.key, Retry::Pointless, reason));
        }
        Ok(self.buffer.copy(range.start - sent..range.end.saturating_sub(sent)).into())
    }

    async fn suspend(self: Box<Self>) -> Result<Vec<u8>> {
        let reason = "it was not opened to be suspended".to_owned();
        Err(Error::StaleState { path: self.key.clone(), reason })
    }

    async fn publish(mut self: Box<Self>, path: &StoragePath) -> Result<()> {
        if self.store.key(path) != self.key {
            let reason = format!("it was opened to become {}", self.key);
            return Err(Error::StaleState { path: path.to_string(), reason });
        }
        self.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
