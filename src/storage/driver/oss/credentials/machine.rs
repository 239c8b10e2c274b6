//! Keys that a machine has: in its environment, by a role that those may take on or that its OIDC token gives (RRSA), by
//! the role of the instance.
//!
//! Names of variables are those of Alibaba's own programs.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::client::{Route, connections};
use super::super::config::Secret;
use super::super::sign::Keys;
use super::Held;
use super::role::{self, Voucher};

/// Where an instance asks about itself.
const METADATA: &str = "http://100.100.100.200";

/// Where a token is exchanged for keys, unless `ALIBABA_CLOUD_STS_ENDPOINT` says otherwise.
const STS: &str = "https://sts.aliyuncs.com";

/// A service this near answers at once, or is not there.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

/// Names a file with an OIDC token.
const TOKEN_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";

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
        let role = self.variable("ALIBABA_CLOUD_ROLE_ARN");
        match (self.keys_of_environment(), role) {
            (Some(keys), Some(role)) => return self.assume(http, role, Voucher::Keys(&keys)).await,
            (Some(keys), None) => return Ok(Held { keys: Arc::new(keys), expires: None }),
            (None, _) => {}
        }
        let provider = self.variable("ALIBABA_CLOUD_OIDC_PROVIDER_ARN");
        if let (Some(role), Some(provider), Some(file)) = (role, provider, self.variable(TOKEN_FILE)) {
            let token = read(file.to_owned()).await?;
            return self.assume(http, role, Voucher::Token { provider, token: token.trim() }).await;
        }
        if self.variable("ALIBABA_CLOUD_ECS_METADATA_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
            return Err(NONE_FOUND.to_owned());
        }
        self.keys_of_instance().await.map_err(|reason| format!("{NONE_FOUND} ({reason})"))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn keys_of_environment(&self) -> Option<Keys> {
        let named = |id, secret, token| {
            let (id, secret) = (self.variable(id)?, self.variable(secret)?);
            Some(Keys { id: id.to_owned(), secret: Secret::new(secret), token: self.variable(token).map(Secret::new) })
        };
        named("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN")
            .or_else(|| named("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"))
    }

    async fn assume(&self, http: &reqwest::Client, role: &str, voucher: Voucher<'_>) -> Result<Held, String> {
        let endpoint = self.variable("ALIBABA_CLOUD_STS_ENDPOINT").unwrap_or(STS);
        let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") };
        let session = self.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME").unwrap_or("berth");
        role::assume(http, &url, role, session, voucher).await
    }

    async fn keys_of_instance(&self) -> Result<Held, String> {
        let http = connections(Route::Direct)?;
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

/// The token is written anew now and then, so it is read each time.
async fn read(file: String) -> Result<String, String> {
    let reading = tokio::task::spawn_blocking(move || {
        std::fs::read_to_string(&file)
            .map_err(|error| format!("{file}, named by {TOKEN_FILE}, cannot be read: {error}"))
    });
    reading.await.map_err(|error| error.to_string())?
}

/// Status and body of a short answer.
pub(super) async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), String> {
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

/// Keys as the services write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Temporary {
    access_key_id: String,
    access_key_secret: String,
    security_token: String,
    expiration: String,
}

impl Temporary {
    /// What is used of them.
    pub(super) fn held(self) -> Result<Held, String> {
        let expires = OffsetDateTime::parse(&self.expiration, &Rfc3339)
            .map_err(|_| "the answer does not say when the keys expire".to_owned())?;
        let (secret, token) = (Secret::new(self.access_key_secret), Some(Secret::new(self.security_token)));
        let keys = Arc::new(Keys { id: self.access_key_id, secret, token });
        Ok(Held { keys, expires: Some(SystemTime::from(expires)) })
    }
}
