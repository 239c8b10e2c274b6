//! `registry serve`: puts the rooms together and lets them work until a signal.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tracing::{info, warn};

use crate::auth::Authenticator;
use crate::config::{Config, Loaded, Source};
use crate::gc::{Rescuer, Scheduler, UploadPurger};
use crate::registry::{Access, Registry};
use crate::routes;
use crate::server::{self, Address, Outcome, Shutdown};
use crate::storage::driver::{Driver, Latency, observed::Observed};
use crate::storage::{DriverConfig, Store};
use crate::telemetry::{self, AccessLogSink, HealthChecks, Metrics, StorageProbe, Telemetry};

/// Serves the configuration that `config` names.
pub(super) fn run(config: Option<PathBuf>) -> ExitCode {
    let loaded = match super::load(config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::init_logging(&loaded.config.telemetry.log) {
        return super::failed(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::failed(&format_args!("the system gives no threads to work with: {error}")),
    };
    match runtime.block_on(serve(loaded)) {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => super::failed(&error),
    }
}

/// What keeps the registry from serving, in the words of the room that said so.
type Refusal = Box<dyn std::error::Error + Send + Sync>;

async fn serve(loaded: Loaded) -> Result<Outcome, Refusal> {
    let Loaded { config, warnings, origin } = loaded;
    for warning in &warnings {
        warn!("{warning}");
    }
    warn_of_surprises(&config);
    let bound = server::bind(config.server.clone()).await?;
    let driver = super::storage::open(&config.storage).await?;
    if driver.latency() == Latency::Remote && config.registry.access == Access::ReadWrite {
        tokio::spawn(super::storage::tell_capabilities(Arc::clone(&driver)));
    }
    let metrics = Metrics::new();
    let driver_name = driver.name();
    let store = Store::new(observe(driver, &config, &metrics), &config.storage);
    let telemetry = start_telemetry(&config, metrics, driver_name, store.clone())?;
    if config.registry.access == Access::ReadWrite {
        maintain(&store, &config);
    }
    let registry = Arc::new(Registry::new(config.registry, store));
    if let Err(error) = registry.look_at_collections().await {
        warn!(%error, "the store could not be asked about collections; each push will ask");
    }
    let authenticator = Arc::new(Authenticator::open(config.auth)?);
    authenticator.start().await;
    super::reload_rules::start(&origin, Arc::clone(&authenticator));
    let app = routes::router(config.routes, registry, authenticator, telemetry.health.clone());
    announce(&origin, bound.address(), &config.storage.driver);
    let shutdown = Shutdown::on_signals()?;
    Ok(bound.run(app, telemetry, shutdown).await)
}

/// Starts what is done without anybody asking for it.
fn maintain(store: &Store, config: &Config) {
    let manifest_limit = super::manifest_limit(config);
    if let Some(purging) = config.gc.upload_purging {
        tokio::spawn(UploadPurger::new(store.clone(), purging).run());
    }
    if let Some(scheduled) = &config.gc.collection {
        tokio::spawn(Scheduler::new(store.clone(), scheduled.clone(), manifest_limit).run());
    }
    if !matches!(config.storage.driver, DriverConfig::Memory) {
        tokio::spawn(Rescuer::new(store.clone(), manifest_limit).run());
    }
}

fn start_telemetry(config: &Config, metrics: Metrics, driver: &str, store: Store) -> Result<Telemetry, Refusal> {
    let probe: StorageProbe = Arc::new(move || {
        let store = store.clone();
        Box::pin(async move { store.probe().await.map_err(|error| error.to_string()) })
    });
    let health = HealthChecks::new();
    health.start(&config.telemetry.health, Some((format!("storagedriver_{driver}"), probe)))?;
    let access_log = AccessLogSink::start(config.telemetry.log.access_log);
    Ok(Telemetry { metrics, access_log, health })
}

/// Times the driver's calls when somebody can see the times.
fn observe(driver: Arc<dyn Driver>, config: &Config, metrics: &Metrics) -> Arc<dyn Driver> {
    let seen = config.server.debug.as_ref().is_some_and(|debug| debug.prometheus_path.is_some());
    if !seen {
        return driver;
    }
    let times = metrics.storage(driver.name());
    Arc::new(Observed::new(driver, Arc::new(move |action, elapsed| times.observe(action, elapsed))))
}

fn warn_of_surprises(config: &Config) {
    if config.registry.secret.is_none() {
        info!("http.secret is not set: uploads in progress do not survive a restart, nor reach another replica");
    }
    if config.auth.lets_anonymous_in_by_password_alone() {
        warn!(
            "auth.access allows something to those who do not log in, and docker asks them for a password all the same \
             where there is no token server: add auth.token.server.key"
        );
    }
    let public = !config.server.addr.starts_with("127.") && !config.server.addr.starts_with("localhost:");
    if config.auth == crate::auth::Config::Open && config.server.net == server::Net::Tcp && public {
        warn!(
            addr = config.server.addr,
            "this registry listens beyond this machine and asks nobody who they are: everyone who reaches it may push"
        );
    }
}

/// The first thing a person sees: where it listens, where the content is, and what to do now.
fn announce(origin: &Source, address: &Address, driver: &DriverConfig) {
    let place = super::storage::place(driver);
    match address {
        Address::Tcp(address) => info!(
            "serving on {address} ({origin}), content in {place}; push with: docker tag IMAGE {address}/NAME && docker \
             push {address}/NAME"
        ),
        Address::Unix(path) => info!("serving on {} ({origin}), content in {place}", path.display()),
    }
}
