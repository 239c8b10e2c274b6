//! Exchanges what a machine has for the temporary keys of a role, at STS: `AssumeRole`, which long-lived keys sign, and
//! `AssumeRoleWithOIDC`, which a token vouches for.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::sign::{Keys, UNRESERVED};
use super::Held;
use super::machine::{Temporary, answer};

const TIMEOUT: Duration = Duration::from_secs(10);

/// What vouches for the machine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Voucher<'a> {
    /// Keys that may take on the role.
    Keys(&'a Keys),
    /// A token of this provider.
    Token { provider: &'a str, token: &'a str },
}

/// The keys of `role`, under the name `session` in the store's logs, from STS at `url`.
///
/// # Errors
/// What STS said.
pub(super) async fn assume(
    http: &reqwest::Client,
    url: &str,
    role: &str,
    session: &str,
    voucher: Voucher<'_>,
) -> Result<Held, String> {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok());
    let mut form = vec![
        ("Version", "2015-04-01".to_owned()),
        ("Format", "JSON".to_owned()),
        ("Timestamp", now.unwrap_or_default()),
        ("SignatureNonce", uuid::Uuid::new_v4().to_string()),
        ("RoleArn", role.to_owned()),
        ("RoleSessionName", session.to_owned()),
    ];
    match voucher {
        Voucher::Keys(keys) => {
            form.push(("Action", "AssumeRole".to_owned()));
            form.extend(keys.token.as_ref().map(|token| ("SecurityToken", token.reveal().to_owned())));
            sign("POST", &mut form, keys);
        }
        Voucher::Token { provider, token } => {
            form.push(("Action", "AssumeRoleWithOIDC".to_owned()));
            form.push(("OIDCProviderArn", provider.to_owned()));
            form.push(("OIDCToken", token.to_owned()));
        }
    }
    let request = http
        .post(format!("{}/", url.trim_end_matches('/')))
        .header("content-type", "application/x-www-form-urlencoded")
        .timeout(TIMEOUT)
        .body(encoded(&form));
    let failed = |reason: String| format!("the role {role} was not given by {url}: {reason}");
    let (status, content) = answer(request).await.map_err(failed)?;
    let answer: Answer = serde_json::from_slice(&content).map_err(|error| failed(error.to_string()))?;
    match answer.credentials {
        Some(credentials) => credentials.held().map_err(failed),
        None => Err(failed(format!("status {status}, {}: {}", answer.code, answer.message))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    credentials: Option<Temporary>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Signs a form as all services of Alibaba but OSS want it.
fn sign(method: &str, form: &mut Vec<(&'static str, String)>, keys: &Keys) {
    form.push(("SignatureMethod", "HMAC-SHA1".to_owned()));
    form.push(("SignatureVersion", "1.0".to_owned()));
    form.push(("AccessKeyId", keys.id.clone()));
    form.sort();
    let text = format!("{method}&%2F&{}", utf8_percent_encode(&encoded(form), UNRESERVED));
    let key = format!("{}&", keys.secret.reveal());
    // A key of any length is fine for HMAC; the type only does not know.
    let Ok(mut mac) = Hmac::<sha1::Sha1>::new_from_slice(key.as_bytes()) else { return };
    mac.update(text.as_bytes());
    form.push(("Signature", STANDARD.encode(mac.finalize().into_bytes())));
}

fn encoded(form: &[(&'static str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| format!("{name}={}", utf8_percent_encode(value, UNRESERVED));
    form.iter().map(pair).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::super::super::config::Secret;
    use super::*;

    #[test]
    fn forms_are_signed_as_the_documentation_does() {
        let keys = Keys { id: "testid".to_owned(), secret: Secret::new("testsecret"), token: None };
        let mut form = [
            ("Action", "DescribeRegions"),
            ("Format", "XML"),
            ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"),
            ("Timestamp", "2016-02-23T12:46:24Z"),
            ("Version", "2014-05-26"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec();
        sign("GET", &mut form, &keys);
        assert_eq!(form.last().map(|(_, value)| value.as_str()), Some("OLeaidS1JvxuMvnyHOwuJ+uX5qY="));
    }
}
