//! Known answers: the vectors of the unit tests of Alibaba's client libraries.

use super::*;

fn keys(token: Option<&str>) -> Keys {
    Keys { id: "ak".to_owned(), secret: Secret::new("sk"), token: token.map(Secret::new) }
}

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap()
}

const KEY: &str = "1234+-/123/1.txt";

fn query() -> Vec<(&'static str, String)> {
    [
        ("param1", "value1"),
        ("+param1", "value3"),
        ("|param1", "value4"),
        ("+param2", ""),
        ("|param2", ""),
        ("param2", ""),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

fn headers(kind: &str) -> Vec<(&'static str, String)> {
    [("x-oss-head1", "value"), ("abc", "value"), ("zabc", "value"), ("xyz", "value"), ("content-type", kind)]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec()
}

fn put<'a>(query: &'a [(&'static str, String)], headers: &'a [(&'static str, String)]) -> Signable<'a> {
    Signable { method: "PUT", bucket: "bucket", key: KEY, query, headers }
}

fn authorization(headers: &[(&'static str, String)]) -> String {
    headers.iter().find(|(name, _)| *name == "authorization").map(|(_, value)| value.clone()).unwrap()
}

#[test]
fn version_4_signs_headers_as_the_vectors_do() {
    let cases = [
        (1_702_743_657, None, "20231216", "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"),
        (1_702_784_856, Some("token"), "20231217", "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea"),
    ];
    for (second, token, day, signature) in cases {
        let signed = v4_headers(put(&query(), &headers("text/plain")), &keys(token), "cn-hangzhou", at(second));
        let expected =
            format!("OSS4-HMAC-SHA256 Credential=ak/{day}/cn-hangzhou/oss/aliyun_v4_request,Signature={signature}");
        assert_eq!(authorization(&signed), expected);
    }
}

#[test]
fn version_4_signs_additional_headers_as_the_vector_does() {
    let mut headers = headers("text/plain");
    headers.push(("x-oss-date", format(at(1_702_747_512), SECOND)));
    headers.push(("x-oss-content-sha256", UNSIGNED_PAYLOAD.to_owned()));
    let canonical = v4_canonical(put(&query(), &headers), &["abc", "zabc"]);
    assert_eq!(
        v4_signature(&keys(None), "cn-hangzhou", at(1_702_747_512), &canonical),
        "4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f"
    );
}

#[test]
fn version_4_signs_addresses_as_the_vectors_do() {
    let cases = [
        (1_702_781_677, None, "a39966c61718be0d5b14e668088b3fa07601033f6518ac7b523100014269c0fe"),
        (1_702_785_388, Some("token"), "3817ac9d206cd6dfc90f1c09c00be45005602e55898f26f5ddb06d7892e1f8b5"),
    ];
    for (second, token, signature) in cases {
        let headers = headers("application/octet-stream");
        let signed = v4_query(put(&query(), &headers), &keys(token), "cn-hangzhou", at(second), 599);
        assert!(signed.contains(&format!("x-oss-signature={signature}")), "{signed}");
        assert!(signed.contains("x-oss-credential=ak%2F20231217%2Fcn-hangzhou%2Foss%2Faliyun_v4_request"), "{signed}");
        assert!(signed.contains("&x-oss-expires=599&") && signed.contains("%2Bparam2&%7Cparam1=value4&"), "{signed}");
    }
}

#[test]
fn version_1_signs_as_the_vectors_do() {
    let headers: Vec<(&'static str, String)> = [
        ("content-md5", "eB5eJF1ptWaXm4bijSPyxw=="),
        ("content-type", "text/html"),
        ("x-oss-date", "Wed, 28 Dec 2022 10:27:41 GMT"),
        ("x-oss-meta-author", "alice"),
        ("x-oss-meta-magic", "abracadabra"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    let request = Signable { method: "PUT", bucket: "examplebucket", key: "nelson", query: &[], headers: &headers };
    let text = v1_text(request, "Wed, 28 Dec 2022 10:27:41 GMT");
    assert_eq!(v1_signature(&keys(None), &text), "kSHKmLxlyEAKtZPkJhG9bZb5k7M=");

    let versioned = [("versionId", "versionId".to_owned())];
    let get = Signable { method: "GET", bucket: "bucket", key: "key", query: &versioned, headers: &[] };
    let signed = v1_query(get, &keys(None), 1_699_807_420);
    assert!(signed.contains("Signature=dcLTea%2BYh9ApirQ8o8dOPqtvJXQ%3D"), "{signed}");

    let get = Signable { key: "key+123", ..get };
    let signed = v1_query(get, &keys(Some("token")), 1_699_808_204);
    assert!(signed.contains("Signature=jzKYRrM5y6Br0dRFPaTGOsbrDhY%3D"), "{signed}");
    assert!(signed.contains("security-token=token"), "{signed}");
}

#[test]
fn version_1_signs_with_the_date_and_the_token_it_sends() {
    let get = Signable { method: "GET", bucket: "b", key: "k", query: &[], headers: &[] };
    let signed = v1_headers(get, &keys(Some("token")), at(0));
    assert!(signed.contains(&("date", "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())));
    assert!(signed.contains(&("x-oss-security-token", "token".to_owned())));
    assert!(authorization(&signed).starts_with("OSS ak:"));
}

#[test]
fn secrets_are_not_printed() {
    let keys = Keys { id: "name".to_owned(), secret: Secret::new("hush"), token: Some(Secret::new("hushhush")) };
    assert!(!format!("{keys:?}").contains("hush"));
}
