//! Reading objects: whole ones that are never short, and long ones that go on where a connection broke off.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::{Head, Service, refused};
use crate::storage::driver::{Content, Object, ReadRange, Reading};
use crate::storage::error::{Error, Result, Retry};

/// Times a small object is read anew when its body ends early.
const SMALL_RETRIES: u32 = 3;

/// Times in a row, without a byte in between, that a transfer is taken up again.
const RESUMPTIONS: u32 = 5;

/// Before the first repetition; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

type Body = BoxStream<'static, Result<Bytes>>;

/// The whole object at `key`, if it has at most `limit` bytes.
pub(super) async fn whole(service: &dyn Service, key: &str, limit: u64) -> Result<Bytes> {
    let mut attempt = 0;
    loop {
        let fetched = service.get(key, None, None).await?;
        let size = fetched.head.size;
        if size > limit {
            return Err(Error::TooLarge { path: key.to_owned(), size, limit });
        }
        let error = match collect(fetched.body, size).await {
            Ok(content) if content.len() as u64 == size => return Ok(content.into()),
            Ok(content) => broken_off(key, content.len() as u64, size),
            Err(error) => error,
        };
        if attempt == SMALL_RETRIES {
            return Err(error);
        }
        pause(attempt).await;
        attempt += 1;
    }
}

/// The bytes of `body`, at most one more than `size`.
async fn collect(mut body: Body, size: u64) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    while let Some(piece) = body.try_next().await? {
        content.extend_from_slice(&piece);
        if content.len() as u64 > size {
            break;
        }
    }
    Ok(content)
}

/// The bytes in `range` of the object at `key`, or fewer if it has fewer.
pub(super) async fn range(service: &Arc<dyn Service>, key: &str, range: Range<u64>) -> Result<Bytes> {
    let remote = open_remote(service, key.to_owned(), Reading::Parts).await?;
    let range = range.start.min(remote.size())..range.end.min(remote.size());
    let length = range.end.saturating_sub(range.start);
    Ok(collect(remote.read_range(range), length).await?.into())
}

/// The object at `key`, of which `reading` is wanted first.
pub(super) async fn open(service: &Arc<dyn Service>, key: String, reading: Reading) -> Result<Object> {
    let remote = open_remote(service, key, reading).await?;
    Ok(Object { size: remote.size(), content: Content::Remote(Arc::new(remote)) })
}

/// As [`open`], for reading in this room.
pub(super) async fn open_remote(service: &Arc<dyn Service>, key: String, reading: Reading) -> Result<Remote> {
    let (head, begun) = match reading {
        Reading::Parts => (service.head(&key).await?, None),
        Reading::Whole => {
            let fetched = service.get(&key, None, None).await?;
            (fetched.head, Some(fetched.body))
        }
    };
    Ok(Remote { service: Arc::clone(service), key: key.into(), head, begun: Mutex::new(begun) })
}

/// One version of an object.
pub(super) struct Remote {
    service: Arc<dyn Service>,
    key: Arc<str>,
    head: Head,
    /// A transfer of all of it that nobody has read from.
    begun: Mutex<Option<Body>>,
}

impl Remote {
    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.head.size
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.key).finish_non_exhaustive()
    }
}

impl ReadRange for Remote {
    fn read_range(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let begun = || self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        let transfer = Transfer {
            service: Arc::clone(&self.service),
            key: Arc::clone(&self.key),
            head: self.head.clone(),
            body: if range.start == 0 { begun() } else { None },
            position: range.start,
            end: range.end.min(self.head.size),
            failures: 0,
        };
        stream::try_unfold(transfer, |mut transfer| async move {
            let piece = transfer.next().await?;
            Ok(piece.map(|piece| (piece, transfer)))
        })
        .boxed()
    }
}

/// The bytes from `position` to `end`, on their way.
struct Transfer {
    service: Arc<dyn Service>,
    key: Arc<str>,
    head: Head,
    body: Option<Body>,
    position: u64,
    end: u64,
    failures: u32,
}

impl Transfer {
    /// The next bytes, from the store only when they are asked for.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.position < self.end {
            let body = match &mut self.body {
                Some(body) => body,
                None => match self.begin().await {
                    Ok(body) => self.body.insert(body),
                    Err(error @ Error::Backend { retry: Retry::Later, .. }) => {
                        self.failed(error).await?;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            match body.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => return Ok(Some(self.take(piece))),
                Some(Err(error)) => self.failed(error).await?,
                None => self.failed(broken_off(&self.key, self.position, self.end)).await?,
            }
        }
        Ok(None)
    }

    fn take(&mut self, mut piece: Bytes) -> Bytes {
        let wanted = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        piece.truncate(wanted);
        self.position += piece.len() as u64;
        self.failures = 0;
        piece
    }

    async fn failed(&mut self, error: Error) -> Result<()> {
        self.body = None;
        if self.failures == RESUMPTIONS {
            return Err(error);
        }
        tracing::debug!(%error, position = self.position, "taking up the transfer of an object again");
        pause(self.failures).await;
        self.failures += 1;
        Ok(())
    }

    async fn begin(&mut self) -> Result<Body> {
        let range = Some(self.position..self.end);
        let fetched = self.service.get(&self.key, range, self.head.version.as_ref()).await?;
        if same(&self.head, &fetched.head) {
            return Ok(fetched.body);
        }
        Err(refused("read", &self.key, Retry::Pointless, "the object was replaced while it was being read"))
    }
}

/// Whether both are of one version. Some stores ignore the wish for one, and some name none.
fn same(opened: &Head, found: &Head) -> bool {
    let named = opened.version.is_some() && found.version.is_some();
    opened.size == found.size && if named { opened.version == found.version } else { opened.modified == found.modified }
}

fn broken_off(key: &str, position: u64, end: u64) -> Error {
    let reason = format!("the store broke off after {position} of {end} bytes");
    refused("read", key, Retry::Later, reason)
}

async fn pause(failures: u32) {
    tokio::time::sleep(FIRST_PAUSE * 2_u32.saturating_pow(failures)).await;
}
