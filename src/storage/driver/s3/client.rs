//! The connection to the store: credentials, endpoint, retries, timeouts and the pool, from [`Config`].
//!
//! Must not know what requests are for. Checksum headers and chunked signatures are off: many stores refuse them.

use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, BehaviorVersion, Builder, Credentials as Keys, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_async::time::StaticTimeSource;
use aws_smithy_http_client::{Connector, proxy::ProxyConfig, tls};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};

use super::config::{Addressing, Certificates, Config, Credentials, EndpointVariant, RequestLog};
use super::unverified;
use super::wire::{Collisions, ContentLength, RequestLogger, UserAgent};

/// How often a request is sent before its failure is told.
const ATTEMPTS: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Failures that may be repeated at once by all requests together, five for each; it keeps a store that is down from
/// being asked six times as often as one that is up.
const RETRY_TOKENS: usize = 5_000;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Until the answer to a small request begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The slowest link, in bytes a second, over which a large request is waited for.
const SLOWEST: u64 = 100_000;

/// Copies and completions of large objects begin to answer only when the store is done.
const STORE_WORK_TIMEOUT: Duration = Duration::from_mins(10);

/// Idle connections are kept warm for this long; one that the store closed earlier is noticed before it is used.
const POOL_IDLE: Duration = Duration::from_mins(1);

/// The client for requests, and the one that makes addresses for clients of the registry.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    /// For requests.
    pub(super) requests: Client,
    /// Only signs.
    pub(super) addresses: Client,
}

/// Makes the clients. Sends nothing.
pub(super) async fn clients(config: &Config) -> Result<Clients, String> {
    let http = http_client(config.certificates)?;
    let base = base(config, http).await?;
    let requests = Client::from_conf(endpoint(base.clone(), config, config.endpoint.as_deref()).build());
    let addresses = match config.redirect_endpoint.as_deref() {
        Some(public) => Client::from_conf(endpoint(base, config, Some(public)).build()),
        None => requests.clone(),
    };
    Ok(Clients { requests, addresses })
}

/// The timeouts of a request that takes `length` bytes to the store.
pub(super) fn timeouts_for(length: u64) -> Builder {
    with_attempt_timeout(ANSWER_TIMEOUT + Duration::from_secs(length / SLOWEST))
}

/// The timeouts of a request over which the store may work for long.
pub(super) fn timeouts_for_work() -> Builder {
    with_attempt_timeout(STORE_WORK_TIMEOUT)
}

/// For a request that must not be repeated behind the caller's back: after an answer nothing of it is under way.
/// The store refuses it 15 minutes after `issued`.
pub(super) fn sent_once(issued: SystemTime) -> Builder {
    timeouts_for_work().retry_config(RetryConfig::disabled()).time_source(StaticTimeSource::new(issued))
}

fn with_attempt_timeout(timeout: Duration) -> Builder {
    Builder::new().timeout_config(TimeoutConfig::builder().operation_attempt_timeout(timeout).build())
}

async fn base(config: &Config, http: SharedHttpClient) -> Result<Builder, String> {
    let region = Region::new(config.region.clone());
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(LONGEST_BACKOFF);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .disable_read_timeout()
        .operation_attempt_timeout(ANSWER_TIMEOUT)
        .build();
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .credentials_provider(credentials(config, &region).await)
        .region(region)
        .http_client(http)
        .retry_config(retries)
        .retry_partition(RetryPartition::custom("s3").token_bucket(TokenBucket::new(RETRY_TOKENS)).build())
        .retry_classifier(Collisions)
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(ContentLength)
        .app_name(AppName::new("berth").map_err(|error| error.to_string())?);
    for variant in &config.variants {
        builder = match variant {
            EndpointVariant::DualStack => builder.use_dual_stack(true),
            EndpointVariant::Accelerate => builder.accelerate(true),
            EndpointVariant::Fips => builder.use_fips(true),
        };
    }
    if let Some(user_agent) = &config.user_agent {
        builder = builder.interceptor(UserAgent::new(user_agent));
    }
    if config.request_log == RequestLog::On {
        builder = builder.interceptor(RequestLogger);
    }
    Ok(builder)
}

fn endpoint(builder: Builder, config: &Config, endpoint: Option<&str>) -> Builder {
    let builder = builder.force_path_style(config.addressing == Addressing::Path);
    match endpoint {
        Some(endpoint) => builder.endpoint_url(endpoint),
        None => builder,
    }
}

async fn credentials(config: &Config, region: &Region) -> SharedCredentialsProvider {
    match &config.credentials {
        Credentials::Given { access_key, secret_key, session_token } => {
            let token = session_token.as_ref().map(|token| token.reveal().to_owned());
            SharedCredentialsProvider::new(Keys::new(access_key, secret_key.reveal(), token, None, "config.yml"))
        }
        Credentials::Found => {
            // Roles are assumed at Amazon's own servers, whatever is believed of the bucket's.
            let surroundings = ProviderConfig::default().with_region(Some(region.clone()));
            let chain = DefaultCredentialsChain::builder().configure(surroundings).region(region.clone());
            SharedCredentialsProvider::new(chain.build().await)
        }
    }
}

fn http_client(certificates: Certificates) -> Result<SharedHttpClient, String> {
    let connector = match certificates {
        Certificates::Verified => {
            let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
            let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
            let connector = Connector::builder()
                .connector_settings(settings)
                .proxy_config(ProxyConfig::from_env())
                .pool_idle_timeout(POOL_IDLE)
                .enable_tcp_nodelay(true)
                .tls_provider(provider)
                .build();
            SharedHttpConnector::new(connector)
        }
        Certificates::Unverified => {
            let connector =
                unverified::Connector::new(CONNECT_TIMEOUT, POOL_IDLE).map_err(|error| error.to_string())?;
            SharedHttpConnector::new(connector)
        }
    };
    // One connector for all requests, whatever their timeouts: each connector has a pool of its own.
    Ok(http_client_fn(move |_, _| connector.clone()))
}
