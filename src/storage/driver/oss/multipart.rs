//! Requests about multipart uploads.

use http::Method;
use http::header::ETAG;

use super::Oss;
use super::client::{Request, header};
use super::failure::backend;
use super::objects::KIND;
use super::xml;
use crate::storage::driver::bucket::{MOST_KEYS, Multipart, MultipartMarker, MultipartPage, PartTag, Payload};
use crate::storage::error::{Result, Retry};

impl Oss {
    pub(super) async fn initiate_multipart_upload(&self, key: &str) -> Result<Multipart> {
        let request = Request::new("begin writing", Method::POST, key).query("uploads", "").header(KIND.0, KIND.1);
        let request = self.encrypted(request);
        let reply = self.call(&request).await?;
        let begun: xml::Begun = self.document(&request, &reply)?;
        Ok(Multipart { key: key.to_owned(), id: begun.upload_id })
    }

    pub(super) async fn upload_one_part(&self, upload: &Multipart, number: u32, content: Payload) -> Result<PartTag> {
        let request = of_part(upload, number, "write a part of").body(content);
        let reply = self.call(&request).await?;
        match header(&reply.headers, ETAG.as_str()) {
            Some(tag) => Ok(PartTag(tag.to_owned())),
            None => Err(backend(&request, Retry::Later, "the store did not name the part".to_owned())),
        }
    }

    pub(super) async fn upload_part_copy(&self, upload: &Multipart, number: u32, from: &str) -> Result<PartTag> {
        let request = of_part(upload, number, "copy a part of").header("x-oss-copy-source", self.copy_source(from));
        let request = request.in_store();
        let reply = self.call(&request).await?;
        let copied: xml::Copied = self.document(&request, &reply)?;
        Ok(PartTag(copied.tag))
    }

    pub(super) async fn complete_multipart_upload(&self, upload: &Multipart, parts: &[PartTag]) -> Result<()> {
        let request = of(upload, "end writing", Method::POST)
            .header("content-type", "application/xml")
            .body(bytes::Bytes::from(xml::completion(parts)))
            .in_store();
        let reply = self.call(&request).await?;
        // A status that was sent before the work was done says nothing of how it ended.
        match xml::error(&reply.content) {
            None => Ok(()),
            Some(told) => Err(backend(&request, Retry::Later, format!("{}: {}", told.code, told.message))),
        }
    }

    pub(super) async fn abort_multipart_upload(&self, upload: &Multipart) -> Result<()> {
        match self.call(&of(upload, "give up", Method::DELETE)).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn list_multipart_uploads(
        &self,
        prefix: &str,
        after: Option<&MultipartMarker>,
    ) -> Result<MultipartPage> {
        let mut request = Request::new("list unfinished writes of", Method::GET, "")
            .query("uploads", "")
            .query("encoding-type", "url")
            .query("max-uploads", MOST_KEYS.to_string())
            .query("prefix", prefix);
        if let Some(after) = after {
            request = request.query("key-marker", after.key.as_str()).query("upload-id-marker", after.id.as_str());
        }
        let place = Request { key: prefix, ..request.clone() };
        let reply = self.client.call(&request).await.map_err(|failure| self.error(&place, failure))?;
        let page: xml::Uploads = self.document(&place, &reply)?;
        multipart_page(page).map_err(|text| backend(&place, Retry::Pointless, text))
    }
}

fn of<'a>(upload: &'a Multipart, operation: &'static str, method: Method) -> Request<'a> {
    Request::new(operation, method, &upload.key).query("uploadId", upload.id.as_str())
}

fn of_part<'a>(upload: &'a Multipart, number: u32, operation: &'static str) -> Request<'a> {
    of(upload, operation, Method::PUT).query("partNumber", number.to_string())
}

fn multipart_page(page: xml::Uploads) -> Result<MultipartPage, String> {
    let mut uploads = Vec::with_capacity(page.upload.len());
    for upload in page.upload {
        let multipart = Multipart { key: xml::name(&upload.key)?, id: upload.id };
        uploads.push((multipart, xml::time(&upload.initiated)));
    }
    let next = MultipartMarker { key: xml::name(&page.next_key_marker)?, id: page.next_upload_id_marker };
    Ok(MultipartPage { uploads, next: page.is_truncated.then_some(next) })
}
