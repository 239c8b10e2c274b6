//! Multipart uploads, and the removal of many objects.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::S3;
use super::client::{sent_once, timeouts_for, timeouts_for_work};
use super::failure::{Answer, Request, backend, failed};
use super::objects::{length, time};
use super::payload::body;
use super::wire::ContentMd5;
use crate::storage::driver::bucket::{Multipart, MultipartMarker, MultipartPage, PartTag, Payload, Sending};
use crate::storage::error::{Error, Result, Retry};

/// Objects that are deleted one by one at once, in stores that delete no other way.
const DELETES_AT_ONCE: usize = 16;

/// How often keys are sent again that the store had no time for.
const DELETE_ROUNDS: u32 = 5;

/// What became of a request to delete several objects.
enum Deleted {
    All,
    /// The store had no time for these.
    Left(Vec<String>, Error),
    /// The store does not know such requests.
    Unknown,
}

impl S3 {
    pub(super) async fn create_multipart_upload(&self, key: &str) -> Result<Multipart> {
        let request = Request { operation: "begin to write", key };
        let begun = self
            .requests()
            .create_multipart_upload()
            .bucket(&self.config.bucket)
            .key(key)
            .set_storage_class(self.storage_class())
            .set_acl(self.acl())
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.encryption_key())
            .send()
            .await
            .map_err(|error| failed(request, &error, &self.config))?;
        match begun.upload_id {
            Some(id) => Ok(Multipart { key: key.to_owned(), id }),
            None => Err(backend(request, Retry::Later, "the store gave the upload no name".to_owned())),
        }
    }

    pub(super) async fn upload_one_part(&self, upload: &Multipart, number: u32, content: &Payload) -> Result<PartTag> {
        let request = Request { operation: "write a part of", key: &upload.key };
        let part = self
            .requests()
            .upload_part()
            .bucket(&self.config.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .part_number(part_number(number))
            .content_length(length(content))
            .body(body(content));
        let sent = part.customize().disable_payload_signing().config_override(timeouts_for(content.length())).send();
        let written = sent.await.map_err(|error| failed(request, &error, &self.config))?;
        tag(request, written.e_tag)
    }

    pub(super) async fn upload_part_copy(&self, upload: &Multipart, number: u32, from: &str) -> Result<PartTag> {
        let request = Request { operation: "copy a part from", key: from };
        let part = self
            .requests()
            .upload_part_copy()
            .bucket(&self.config.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .part_number(part_number(number))
            .copy_source(self.copy_source(from));
        let sent = part.customize().config_override(timeouts_for_work()).send();
        let copied = sent.await.map_err(|error| failed(request, &error, &self.config))?;
        tag(request, copied.copy_part_result.and_then(|result| result.e_tag))
    }

    pub(super) async fn complete_multipart_upload(&self, upload: &Multipart, parts: &[PartTag]) -> Result<()> {
        let request = Request { operation: "complete", key: &upload.key };
        let numbered = (1..).zip(parts);
        let parts = numbered.map(|(number, tag)| CompletedPart::builder().part_number(number).e_tag(&tag.0).build());
        let complete = self
            .requests()
            .complete_multipart_upload()
            .bucket(&self.config.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build());
        let sent = complete.customize().config_override(timeouts_for_work()).send();
        let completed = sent.await.map_err(|error| failed(request, &error, &self.config))?;
        // A store that broke off, or failed after it had begun to answer, has said nothing of an object.
        tag(request, completed.e_tag).map(drop)
    }

    pub(super) async fn abort_multipart_upload(&self, upload: &Multipart) -> Result<()> {
        let request = Request { operation: "abort writing", key: &upload.key };
        let abort = self.requests().abort_multipart_upload().bucket(&self.config.bucket);
        match abort.key(&upload.key).upload_id(&upload.id).send().await {
            Ok(_) => Ok(()),
            Err(error) => match failed(request, &error, &self.config) {
                Error::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(super) async fn list_multipart_uploads(
        &self,
        prefix: &str,
        after: Option<&MultipartMarker>,
    ) -> Result<MultipartPage> {
        let request = Request { operation: "list unfinished writes below", key: prefix };
        let page = self
            .requests()
            .list_multipart_uploads()
            .bucket(&self.config.bucket)
            .prefix(prefix)
            .set_key_marker(after.map(|marker| marker.key.clone()))
            .set_upload_id_marker(after.map(|marker| marker.id.clone()))
            .send()
            .await
            .map_err(|error| failed(request, &error, &self.config))?;
        let next = match (page.is_truncated, page.next_key_marker, page.next_upload_id_marker) {
            (Some(true), Some(key), id) => Some(MultipartMarker { key, id: id.unwrap_or_default() }),
            _ => None,
        };
        let uploads = page.uploads.unwrap_or_default().into_iter();
        let uploads = uploads
            .filter_map(|upload| {
                let begun = time(upload.initiated.as_ref());
                Some((Multipart { key: upload.key?, id: upload.upload_id? }, begun))
            })
            .collect();
        Ok(MultipartPage { uploads, next })
    }

    pub(super) async fn delete_objects(&self, keys: &[String], sending: Sending) -> Result<()> {
        match keys {
            [] => return Ok(()),
            [only] => return self.delete_one(only, sending).await,
            _ if self.deletes_singly.load(Ordering::Relaxed) => return self.delete_singly(keys, sending).await,
            _ => {}
        }
        let rounds = if sending == Sending::AsOftenAsNeeded { DELETE_ROUNDS } else { 1 };
        let mut keys = keys.to_vec();
        for round in 1.. {
            match self.delete_together(&keys, sending).await? {
                Deleted::All => break,
                Deleted::Unknown => {
                    tracing::info!("the store does not delete several objects by one request; they go one by one");
                    self.deletes_singly.store(true, Ordering::Relaxed);
                    return self.delete_singly(&keys, sending).await;
                }
                Deleted::Left(_, error) if round == rounds => return Err(error),
                Deleted::Left(left, _) => keys = left,
            }
            tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(round)).await;
        }
        Ok(())
    }

    async fn delete_together(&self, keys: &[String], sending: Sending) -> Result<Deleted> {
        let request = Request { operation: "delete several from", key: keys.first().map_or("", String::as_str) };
        let unfit = |error: aws_sdk_s3::error::BuildError| backend(request, Retry::Pointless, error.to_string());
        let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let objects = objects.collect::<Result<Vec<_>, _>>().map_err(unfit)?;
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(unfit)?;
        let delete = self.requests().delete_objects().bucket(&self.config.bucket).delete(delete);
        let mut delete = delete.customize().interceptor(ContentMd5);
        if let Sending::Once { issued } = sending {
            delete = delete.config_override(sent_once(issued));
        }
        let answer = match delete.send().await {
            Ok(answer) => answer,
            Err(error) if Answer::of(&error).is_some_and(|answer| answer.is_unknown_request()) => {
                return Ok(Deleted::Unknown);
            }
            Err(error) => return Err(failed(request, &error, &self.config)),
        };
        let mut left = Vec::new();
        let mut reason = None;
        for entry in answer.errors.unwrap_or_default() {
            let answer = Answer::of_entry(entry.code.as_deref(), entry.message.as_deref());
            let key = entry.key.unwrap_or_default();
            if answer.is_missing() {
                continue;
            }
            let error = self.refused_entry(&key, &answer);
            if answer.retry() == Retry::Pointless {
                return Err(error);
            }
            left.push(key);
            reason = Some(error);
        }
        Ok(match reason {
            Some(error) => Deleted::Left(left, error),
            None => Deleted::All,
        })
    }

    async fn delete_singly(&self, keys: &[String], sending: Sending) -> Result<()> {
        let deletions: Vec<_> = keys.iter().map(|key| self.delete_one(key, sending)).collect();
        stream::iter(deletions).buffer_unordered(DELETES_AT_ONCE).try_collect().await
    }

    async fn delete_one(&self, key: &str, sending: Sending) -> Result<()> {
        let request = Request { operation: "delete", key };
        let mut delete = self.requests().delete_object().bucket(&self.config.bucket).key(key).customize();
        if let Sending::Once { issued } = sending {
            delete = delete.config_override(sent_once(issued));
        }
        match delete.send().await {
            Ok(_) => Ok(()),
            Err(error) => match failed(request, &error, &self.config) {
                Error::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }
}

fn part_number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn tag(request: Request<'_>, tag: Option<String>) -> Result<PartTag> {
    let untold = || backend(request, Retry::Later, "the store did not confirm it with an entity tag".to_owned());
    tag.map(PartTag).ok_or_else(untold)
}
