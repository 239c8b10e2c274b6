"""Asks an OSS server everything that a registry's driver asks, through both official client libraries and with both
versions of signatures, and whether it refuses what it must. Run by oss_sdks.sh; prints one line for each check."""

import hashlib
import sys
import urllib.error
import urllib.request

import alibabacloud_oss_v2 as v2
import oss2

endpoint, region, bucket, key_id, key_secret = sys.argv[1:]
region = region.removeprefix("oss-")
failed = []

PART = b"p" * (100 << 10)
NAMES = ["docker/registry/v2/a b", "a+b", "ä/ö", "a%b&c=d?e", "a'()*!~b"]


def check(name, holds, seen=""):
    print(("ok    " if holds else "FAIL  ") + name + ("" if holds else f": {seen!r}"))
    if not holds:
        failed.append(name)


def code_of(action):
    """The code with which an action is refused; what it gives when it is not."""
    try:
        return action()
    except oss2.exceptions.OssError as error:
        return error.code or error.status
    except v2.exceptions.OperationError as error:
        cause = error.unwrap()
        return getattr(cause, "code", None) or getattr(cause, "status_code", cause)


def fetch(url, method="GET"):
    """Status and body of an address."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Old:
    """oss2."""

    def __init__(self, version, secret=key_secret, where=region):
        self.version = version
        auth = oss2.AuthV4(key_id, secret) if version == 4 else oss2.Auth(key_id, secret)
        self.bucket = oss2.Bucket(auth, endpoint, bucket, region=where)

    def put(self, key, content, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.bucket.put_object(key, content, headers=headers).etag

    def get(self, key, first=None, last=None, standard=False):
        headers = {"x-oss-range-behavior": "standard"} if standard else {}
        return self.bucket.get_object(key, byte_range=(first, last) if first is not None else None, headers=headers).read()

    def head(self, key):
        found = self.bucket.head_object(key)
        return found.content_length, found.etag

    def meta(self, key):
        return self.bucket.get_object_meta(key).content_length

    def list_v2(self, prefix, delimiter, after, most):
        page, objects, folded, token = None, [], [], ""
        while page is None or page.is_truncated:
            page = self.bucket.list_objects_v2(prefix, delimiter, token, after, max_keys=most)
            token = page.next_continuation_token
            objects += [found.key for found in page.object_list]
            folded += page.prefix_list
        return objects, folded

    def list_v1(self, prefix, most):
        return [found.key for found in oss2.ObjectIterator(self.bucket, prefix=prefix, max_keys=most)]

    def delete(self, key):
        self.bucket.delete_object(key)

    def delete_many(self, keys):
        self.bucket.batch_delete_objects(keys)

    def copy(self, source, key):
        self.bucket.copy_object(bucket, source, key)

    def begin(self, key):
        return self.bucket.init_multipart_upload(key).upload_id

    def part(self, key, upload, number, content):
        return self.bucket.upload_part(key, upload, number, content).etag

    def part_copy(self, key, upload, number, source, first, last):
        return self.bucket.upload_part_copy(bucket, source, (first, last), key, upload, number).etag

    def complete(self, key, upload, tags, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        parts = [oss2.models.PartInfo(number, tag) for number, tag in tags]
        self.bucket.complete_multipart_upload(key, upload, parts, headers=headers)

    def abort(self, key, upload):
        self.bucket.abort_multipart_upload(key, upload)

    def parts(self, key, upload):
        return [part.part_number for part in self.bucket.list_parts(key, upload).parts]

    def uploads(self, prefix):
        return [upload.key for upload in oss2.MultipartUploadIterator(self.bucket, prefix=prefix, max_uploads=1)]

    def address(self, method, key):
        return self.bucket.sign_url(method, key, 60, slash_safe=True)

    def information(self):
        return self.bucket.get_bucket_info().name, self.bucket.get_bucket_location().location


class New:
    """alibabacloud-oss-v2."""

    def __init__(self, version, secret=key_secret, where=region):
        self.version = version
        config = v2.config.load_default()
        config.credentials_provider = v2.credentials.StaticCredentialsProvider(key_id, secret)
        config.region, config.endpoint, config.signature_version = where, endpoint, f"v{version}"
        config.retry_max_attempts = 1
        self.client = v2.Client(config)

    def put(self, key, content, **headers):
        forbid = headers.get("x_oss_forbid_overwrite")
        request = v2.PutObjectRequest(bucket=bucket, key=key, body=content, forbid_overwrite=forbid)
        return self.client.put_object(request).etag.strip('"')

    def get(self, key, first=None, last=None, standard=False):
        wanted = None if first is None else f"bytes={first}-{last}"
        request = v2.GetObjectRequest(
            bucket=bucket, key=key, range_header=wanted, range_behavior="standard" if standard else None
        )
        return self.client.get_object(request).body.read()

    def head(self, key):
        found = self.client.head_object(v2.HeadObjectRequest(bucket=bucket, key=key))
        return found.content_length, found.etag.strip('"')

    def meta(self, key):
        return self.client.get_object_meta(v2.GetObjectMetaRequest(bucket=bucket, key=key)).content_length

    def list_v2(self, prefix, delimiter, after, most):
        objects, folded = [], []
        request = v2.ListObjectsV2Request(
            bucket=bucket, prefix=prefix, delimiter=delimiter, start_after=after, max_keys=most
        )
        for page in self.client.list_objects_v2_paginator().iter_page(request):
            objects += [found.key for found in page.contents or []]
            folded += [found.prefix for found in page.common_prefixes or []]
        return objects, folded

    def list_v1(self, prefix, most):
        pages = self.client.list_objects_paginator()
        pages = pages.iter_page(v2.ListObjectsRequest(bucket=bucket, prefix=prefix, max_keys=most))
        return [found.key for page in pages for found in page.contents or []]

    def delete(self, key):
        self.client.delete_object(v2.DeleteObjectRequest(bucket=bucket, key=key))

    def delete_many(self, keys):
        objects = [v2.DeleteObject(key=key) for key in keys]
        self.client.delete_multiple_objects(v2.DeleteMultipleObjectsRequest(bucket=bucket, objects=objects))

    def copy(self, source, key):
        self.client.copy_object(v2.CopyObjectRequest(bucket=bucket, key=key, source_key=source))

    def begin(self, key):
        return self.client.initiate_multipart_upload(v2.InitiateMultipartUploadRequest(bucket=bucket, key=key)).upload_id

    def part(self, key, upload, number, content):
        request = v2.UploadPartRequest(bucket=bucket, key=key, upload_id=upload, part_number=number, body=content)
        return self.client.upload_part(request).etag

    def part_copy(self, key, upload, number, source, first, last):
        request = v2.UploadPartCopyRequest(
            bucket=bucket, key=key, upload_id=upload, part_number=number, source_key=source,
            source_range=f"bytes={first}-{last}",
        )
        return self.client.upload_part_copy(request).etag

    def complete(self, key, upload, tags, **headers):
        parts = [v2.UploadPart(part_number=number, etag=tag) for number, tag in tags]
        request = v2.CompleteMultipartUploadRequest(
            bucket=bucket, key=key, upload_id=upload,
            complete_multipart_upload=v2.CompleteMultipartUpload(parts=parts) if tags else None,
            complete_all=None if tags else "yes", forbid_overwrite=headers.get("x_oss_forbid_overwrite"),
        )
        self.client.complete_multipart_upload(request)

    def abort(self, key, upload):
        self.client.abort_multipart_upload(v2.AbortMultipartUploadRequest(bucket=bucket, key=key, upload_id=upload))

    def parts(self, key, upload):
        found = self.client.list_parts(v2.ListPartsRequest(bucket=bucket, key=key, upload_id=upload))
        return [part.part_number for part in found.parts]

    def uploads(self, prefix):
        pages = self.client.list_multipart_uploads_paginator()
        pages = pages.iter_page(v2.ListMultipartUploadsRequest(bucket=bucket, prefix=prefix, max_uploads=1))
        return [upload.key for page in pages for upload in page.uploads or []]

    def address(self, method, key):
        kind = v2.HeadObjectRequest if method == "HEAD" else v2.GetObjectRequest
        return self.client.presign(kind(bucket=bucket, key=key)).url

    def information(self):
        info = self.client.get_bucket_info(v2.GetBucketInfoRequest(bucket=bucket)).bucket_info.name
        return info, self.client.get_bucket_location(v2.GetBucketLocationRequest(bucket=bucket)).location


def objects(store, name):
    for key in NAMES:
        tag = store.put(key, key.encode())
        check(f"{name}: put, get, head {key}", store.get(key) == key.encode() and
              store.head(key) == (len(key.encode()), tag) and tag == hashlib.md5(key.encode()).hexdigest().upper(), tag)
    store.put("digits", b"0123456789")
    check(f"{name}: range", store.get("digits", 2, 4) == b"234", "")
    check(f"{name}: a range reaching beyond the end gives all", store.get("digits", 8, 20) == b"0123456789")
    check(f"{name}: or what is there, when asked so", store.get("digits", 8, 20, standard=True) == b"89")
    seen = code_of(lambda: store.get("digits", 20, 30, standard=True))
    check(f"{name}: or a refusal", seen == "InvalidRange", seen)
    check(f"{name}: the smaller look", store.meta("digits") == 10)
    seen = code_of(lambda: store.get("missing"))
    check(f"{name}: nothing there", seen == "NoSuchKey", seen)
    seen = code_of(lambda: store.head("missing"))
    check(f"{name}: nothing there to look at", seen in ("NoSuchKey", 404), seen)
    seen = code_of(lambda: store.put("digits", b"other", x_oss_forbid_overwrite="true"))
    check(f"{name}: overwriting forbidden", seen == "FileAlreadyExists" and store.get("digits") == b"0123456789", seen)
    store.copy("ä/ö", "copy of ä+ö")
    check(f"{name}: copy", store.get("copy of ä+ö") == "ä/ö".encode())
    store.delete("copy of ä+ö")
    store.delete("copy of ä+ö")
    seen = code_of(lambda: store.copy("missing", "x"))
    check(f"{name}: copy of nothing", seen == "NoSuchKey", seen)


def listings(store, name):
    keys = ["l/a", "l/b/1", "l/b/2", "l/c d", "l/e&f", "m"]
    for key in keys:
        store.put(key, b"x")
    for most in (1, 2, 100):
        seen = store.list_v2("l/", "/", "", most)
        check(f"{name}: list by {most}, folded", seen == (["l/a", "l/c d", "l/e&f"], ["l/b/"]), seen)
        seen = store.list_v2("l/", "", "l/b/1", most)
        check(f"{name}: list by {most}, after a key", seen == (["l/b/2", "l/c d", "l/e&f"], []), seen)
        seen = store.list_v1("l/", most)
        check(f"{name}: list the old way by {most}", seen == keys[:-1], seen)
    store.delete_many(keys + ["missing"])
    seen = store.list_v2("l/", "", "", 100)
    check(f"{name}: delete many", seen == ([], []), seen)


def multipart(store, name):
    store.put("source", b"abcdef")
    upload = store.begin("big +")
    other = store.begin("big too")
    check(f"{name}: unfinished uploads", store.uploads("big") == ["big +", "big too"], store.uploads("big"))
    store.abort("big too", other)
    tags = [(1, store.part("big +", upload, 1, PART)), (3, store.part_copy("big +", upload, 3, "source", 1, 3))]
    check(f"{name}: parts", store.parts("big +", upload) == [1, 3])
    seen = code_of(lambda: store.complete("big +", upload, [(1, "0" * 32)]))
    check(f"{name}: a part that is none", seen == "InvalidPart", seen)
    seen = code_of(lambda: store.complete("source", upload, tags))
    check(f"{name}: an upload of another key", seen == "NoSuchUpload", seen)
    store.complete("big +", upload, tags)
    check(f"{name}: complete", store.get("big +") == PART + b"bcd")
    seen = code_of(lambda: store.complete("big +", upload, tags))
    check(f"{name}: complete twice", seen == "NoSuchUpload", seen)
    upload = store.begin("big +")
    tags = [(1, store.part("big +", upload, 1, b"small")), (2, store.part("big +", upload, 2, b"small"))]
    seen = code_of(lambda: store.complete("big +", upload, tags))
    check(f"{name}: a part too small", seen == "EntityTooSmall", seen)
    store.part("big +", upload, 1, PART)
    tags[0] = (1, hashlib.md5(PART).hexdigest().upper())
    seen = code_of(lambda: store.complete("big +", upload, tags, x_oss_forbid_overwrite="true"))
    check(f"{name}: completing over what exists", seen == "FileAlreadyExists", seen)
    store.abort("big +", upload)
    check(f"{name}: nothing left unfinished", store.uploads("big") == [])
    if isinstance(store, New):
        upload = store.begin("all")
        store.part("all", upload, 1, b"whole")
        store.complete("all", upload, [])
        check(f"{name}: complete with all parts", store.get("all") == b"whole")


def addresses(store, name):
    for key in ["digits", "a+b", "ä/ö"]:
        url = store.address("GET", key)
        check(f"{name}: address of {key}", fetch(url) == (200, store.get(key)), fetch(url))
        check(f"{name}: head by address of {key}", fetch(store.address("HEAD", key), "HEAD") == (200, b""))
        check(f"{name}: not by the other's address", fetch(url, "HEAD")[0] == 403)
        check(f"{name}: not for another key", fetch(url.replace("?", "x?", 1))[0] == 403)
        check(f"{name}: not with more parameters", fetch(url + "&versionId=1")[0] == 403)
        signature = "x-oss-signature=" if store.version == 4 else "Signature="
        check(f"{name}: not with another signature", fetch(url.replace(signature, signature + "0"))[0] == 403)


def refusals(kind, version, name):
    seen = code_of(lambda: kind(version, secret="wrong").put("x", b""))
    check(f"{name}: a wrong secret", seen == "SignatureDoesNotMatch", seen)
    if version == 4:
        seen = code_of(lambda: kind(version, where="cn-elsewhere").put("x", b""))
        check(f"{name}: a wrong region", seen == "InvalidArgument", seen)


for kind in (Old, New):
    for version in (1, 4):
        name = f"{kind.__doc__.rstrip('.')}, version {version}"
        store = kind(version)
        seen = store.information()
        check(f"{name}: what bucket this is", seen == (bucket, f"oss-{region}"), seen)
        objects(store, name)
        listings(store, name)
        multipart(store, name)
        addresses(store, name)
        refusals(kind, version, name)
check("nothing gets in unsigned", fetch(f"{endpoint}/{bucket}/digits")[0] == 403)
print(f"{len(failed)} failed")
sys.exit(1 if failed else 0)
