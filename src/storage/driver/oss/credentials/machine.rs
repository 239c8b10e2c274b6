//! Keys that a machine has: in its environment, by the role of its OIDC token (RRSA), by the role of the instance.
//!
//! Names of variables are those of Alibaba's own programs.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::client::connections;
use super::super::config::Secret;
use super::super::sign::Keys;
use super::Held;

/// Where an instance asks about itself.
const METADATA: &str = "http://100.100.100.200";

/// Where a token is exchanged for keys, unless `ALIBABA_CLOUD_STS_ENDPOINT` says otherwise.
const STS: &str = "https://sts.aliyuncs.com";

/// A service this near answers at once, or is not there.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
const STS_TIMEOUT: Duration = Duration::from_secs(10);

const NONE_FOUND: &str = "no credentials were found: set storage.oss.accesskeyid and storage.oss.accesskeysecret, or \
                          ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or give this machine a role";

/// A machine and its surroundings.
pub(super) struct Machine {
    environment: HashMap<String, String>,
    /// Scheme and host of the metadata service.
    pub(super) metadata: String,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment has secrets in it.
        f.debug_struct("Machine").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

impl Machine {
    pub(super) fn new(environment: HashMap<String, String>) -> Self {
        Self { environment, metadata: METADATA.to_owned() }
    }

    /// The first keys that are there.
    pub(super) async fn keys(&self, http: &reqwest::Client) -> Result<Held, String> {
        if let Some(keys) = self.from_environment() {
            return Ok(Held { keys: Arc::new(keys), expires: None });
        }
        if let (Some(role), Some(provider), Some(file)) = (
            self.variable("ALIBABA_CLOUD_ROLE_ARN"),
            self.variable("ALIBABA_CLOUD_OIDC_PROVIDER_ARN"),
            self.variable("ALIBABA_CLOUD_OIDC_TOKEN_FILE"),
        ) {
            return self.from_token(http, role, provider, file).await;
        }
        if self.variable("ALIBABA_CLOUD_ECS_METADATA_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
            return Err(NONE_FOUND.to_owned());
        }
        self.from_instance().await.map_err(|reason| format!("{NONE_FOUND} ({reason})"))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn from_environment(&self) -> Option<Keys> {
        let named = |id, secret, token| {
            let (id, secret) = (self.variable(id)?, self.variable(secret)?);
            Some(Keys { id: id.to_owned(), secret: Secret::new(secret), token: self.variable(token).map(Secret::new) })
        };
        named("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN")
            .or_else(|| named("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"))
    }

    /// `AssumeRoleWithOIDC`, which the token itself vouches for.
    async fn from_token(&self, http: &reqwest::Client, role: &str, provider: &str, file: &str) -> Result<Held, String> {
        let token = tokio::task::spawn_blocking({
            let file = file.to_owned();
            move || {
                std::fs::read_to_string(&file)
                    .map_err(|error| format!("{file}, named by ALIBABA_CLOUD_OIDC_TOKEN_FILE, cannot be read: {error}"))
            }
        });
        let token = token.await.map_err(|error| error.to_string())??;
        let endpoint = self.variable("ALIBABA_CLOUD_STS_ENDPOINT").unwrap_or(STS);
        let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") };
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok());
        let session = self.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME").unwrap_or("berth");
        let form = [
            ("Action", "AssumeRoleWithOIDC"),
            ("Version", "2015-04-01"),
            ("Format", "JSON"),
            ("Timestamp", now.as_deref().unwrap_or_default()),
            ("SignatureNonce", &uuid::Uuid::new_v4().to_string()),
            ("RoleArn", role),
            ("OIDCProviderArn", provider),
            ("OIDCToken", token.trim()),
            ("RoleSessionName", session),
        ];
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let request = http
            .post(format!("{}/", url.trim_end_matches('/')))
            .header("content-type", "application/x-www-form-urlencoded")
            .timeout(STS_TIMEOUT)
            .body(form.join("&"));
        let failed = |reason: String| format!("the role {role} was not given by {url}: {reason}");
        let (status, content) = answer(request).await.map_err(failed)?;
        let answer: Assumed = serde_json::from_slice(&content).map_err(|error| failed(error.to_string()))?;
        match answer.credentials {
            Some(credentials) => credentials.held().map_err(failed),
            None => Err(failed(format!("status {status}, {}: {}", answer.code, answer.message))),
        }
    }

    async fn from_instance(&self) -> Result<Held, String> {
        let http = connections(false)?;
        let token = http
            .put(format!("{}/latest/api/token", self.metadata))
            .header("x-aliyun-ecs-metadata-token-ttl-seconds", "21600")
            .timeout(METADATA_TIMEOUT);
        // Older instances know no tokens; those that demand one refuse the next request.
        let token = match answer(token).await {
            Ok((200, content)) => String::from_utf8(content).ok(),
            Ok(_) => None,
            Err(reason) => return Err(format!("the metadata service: {reason}")),
        };
        let names = "latest/meta-data/ram/security-credentials/";
        let role = match self.variable("ALIBABA_CLOUD_ECS_METADATA") {
            Some(role) => role.to_owned(),
            None => self.ask(&http, names, token.as_deref()).await?.trim().to_owned(),
        };
        let found = self.ask(&http, &format!("{names}{role}"), token.as_deref()).await?;
        let found: Temporary =
            serde_json::from_str(&found).map_err(|error| format!("the metadata service: {error}"))?;
        found.held().map_err(|reason| format!("role {role}: {reason}"))
    }

    async fn ask(&self, http: &reqwest::Client, path: &str, token: Option<&str>) -> Result<String, String> {
        let mut request = http.get(format!("{}/{path}", self.metadata)).timeout(METADATA_TIMEOUT);
        if let Some(token) = token {
            request = request.header("x-aliyun-ecs-metadata-token", token);
        }
        match answer(request).await {
            Ok((200, content)) => String::from_utf8(content).map_err(|error| error.to_string()),
            Ok((404, _)) => Err("the instance has no role".to_owned()),
            Ok((status, _)) => Err(format!("the metadata service answered with status {status}")),
            Err(reason) => Err(format!("the metadata service: {reason}")),
        }
    }
}

/// Status and body of a short answer.
async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), String> {
    const LONGEST: usize = 64 << 10;
    let mut response = request.send().await.map_err(|error| error.without_url().to_string())?;
    let mut content = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        content.extend_from_slice(&chunk);
        if content.len() > LONGEST {
            return Err("the answer is too long".to_owned());
        }
    }
    Ok((response.status().as_u16(), content))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Assumed {
    credentials: Option<Temporary>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Temporary {
    access_key_id: String,
    access_key_secret: String,
    security_token: String,
    expiration: String,
}

impl Temporary {
    fn held(self) -> Result<Held, String> {
        let expires = OffsetDateTime::parse(&self.expiration, &Rfc3339)
            .map_err(|_| "the answer does not say when the keys expire".to_owned())?;
        let (secret, token) = (Secret::new(self.access_key_secret), Some(Secret::new(self.security_token)));
        let keys = Arc::new(Keys { id: self.access_key_id, secret, token });
        Ok(Held { keys, expires: Some(SystemTime::from(expires)) })
    }
}
