//! Making one object of the chunks of a session, by copying within the store.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::direct::Direct;
use super::multipart::OpenMultipart;
use super::session::Session;
use super::{PartTag, Payload, Store, read, segments};
use crate::storage::driver::{ReadRange, Reading, StagedWrite, WriteMode};
use crate::storage::error::Result;

/// A stretch of the content.
enum Piece {
    /// An object.
    Stored(String),
    /// Bytes that were not sent yet.
    Gathered(Payload),
}

/// Makes the content of `session` the object at `target`.
pub(super) async fn publish(session: &mut Session, target: &str) -> Result<()> {
    let length = session.length();
    let store = Arc::clone(&session.store);
    let mut pieces: Vec<Piece> = session.chunk_keys().await?.into_iter().map(Piece::Stored).collect();
    pieces.extend(session.tail.map(|tail| Piece::Stored(segments::tail(session.key(), tail.nonce))));
    if session.buffer.length() > 0 || pieces.is_empty() {
        pieces.push(Piece::Gathered(session.buffer.take()));
    }
    if let [Piece::Gathered(content)] = pieces.as_slice() {
        return store.service.put(target, content.clone(), WriteMode::Overwrite).await;
    }
    let limits = store.service.limits();
    // To ask whether it is there already would cost as much as to copy it.
    if let [Piece::Stored(only)] = pieces.as_slice()
        && length <= limits.copy
    {
        return store.service.copy(only, target).await;
    }
    if store.size(target).await? == Some(length) {
        return Ok(());
    }
    match pieces.as_slice() {
        // Another replica may cut smaller parts than the store puts together.
        [_, _, ..] if session.state.part < limits.least_part => rewrite(&store, pieces, target).await,
        _ => assemble(&store, pieces, target, length).await,
    }
}

/// Copies the pieces into parts of one object, many at once.
async fn assemble(store: &Arc<Store>, pieces: Vec<Piece>, target: &str, length: u64) -> Result<()> {
    let upload = OpenMultipart::begin(store, target).await?;
    let parts = pieces.into_iter().zip(1..).map(|(piece, number)| {
        let (store, upload) = (Arc::clone(store), Arc::clone(&upload));
        async move {
            match piece {
                Piece::Stored(key) => store.service.copy_part(upload.upload(), number, &key).await,
                Piece::Gathered(content) => store.service.upload_part(upload.upload(), number, content).await,
            }
        }
    });
    let at_once = store.service.limits().copies_at_once.max(1);
    let tags: Vec<PartTag> = stream::iter(parts).buffered(at_once).try_collect().await?;
    upload.complete(&tags, length).await
}

/// Reads the pieces and writes them anew, in parts that the store takes.
async fn rewrite(store: &Arc<Store>, pieces: Vec<Piece>, target: &str) -> Result<()> {
    let mut direct = Direct::new(store, target.to_owned(), None);
    for piece in pieces {
        match piece {
            Piece::Stored(key) => {
                let object = read::open_remote(&store.service, key, Reading::Whole).await?;
                let mut content = object.read_range(0..object.size());
                while let Some(bytes) = content.try_next().await? {
                    direct.append(vec![bytes]).await?;
                }
            }
            Piece::Gathered(content) => direct.append(content.pieces().to_vec()).await?,
        }
    }
    direct.finish().await
}
