//! What it costs to find out who somebody is, on one thread: tokens seen for the first time and again, and passwords.
//!
//!   cargo bench --bench tokens
//!
//! Prints microseconds for each question that is asked of every request, the median of many batches, beside the target.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that fails says so loudly"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth::auth::{
    Access, Action, Authenticator, Authorization, Config, Credentials, HtpasswdConfig, KeySet, RealmConfig,
};
use berth::auth::{SigningAlgorithm, TokenConfig, Ways};
use berth::oci::RepositoryName;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::json;

/// Questions in a batch, which is short so that it is rarely interrupted, and batches of each kind.
const BATCH: usize = 4;
const BATCHES: usize = 500;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let signers = [(Algorithm::ES256, ec_key()), (Algorithm::RS256, rsa_key())];
    let authenticator = Authenticator::open(config(directory.path(), &signers)).unwrap();
    println!("| what is shown | us per request | target |\n|---|---|---|");
    for (algorithm, key) in &signers {
        let tokens: Vec<String> = (0..BATCH * BATCHES).map(|number| token(*algorithm, key, number)).collect();
        let mut batches = tokens.chunks(BATCH);
        let first = median(async || ask(&authenticator, batches.next().unwrap()).await).await;
        row(&format!("{algorithm:?} token, seen for the first time"), first, "60");
        let again = vec![tokens.last().unwrap().clone(); BATCH];
        let repeated = median(async || ask(&authenticator, &again).await).await;
        row(&format!("{algorithm:?} token, seen before"), repeated, "5");
    }
    let password = vec![format!("Basic {}", STANDARD.encode("alice:secret")); BATCH];
    ask(&authenticator, &password[..1]).await;
    let repeated = median(async || ask(&authenticator, &password).await).await;
    row("password, right within the last minute", repeated, "-");
}

fn row(what: &str, batch: Duration, target: &str) {
    println!("| {what} | {:.2} | {target} |", batch.as_secs_f64() * 1e6 / f64::from(u32::try_from(BATCH).unwrap()));
}

/// Asks for each header whether it may pull.
async fn ask(authenticator: &Authenticator, headers: &[String]) {
    let name: RepositoryName = "team/app".parse().unwrap();
    for header in headers {
        let credentials = Credentials { authorization: Authorization::Text(header), ..Credentials::default() };
        let access = Access::Repository { name: &name, action: Action::Pull };
        authenticator.authorize(credentials, access).await.expect("it is good");
    }
}

async fn median(mut batch: impl AsyncFnMut()) -> Duration {
    let mut times = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let begun = Instant::now();
        batch().await;
        times.push(begun.elapsed());
    }
    times.sort();
    times[BATCHES / 2]
}

fn token(algorithm: Algorithm, key: &EncodingKey, number: usize) -> String {
    let claims = json!({
        "iss": "issuer", "sub": "alice", "aud": "service", "exp": 4_000_000_000_u64, "nbf": 1, "jti": number.to_string(),
        "access": [
            { "type": "repository", "name": "team/app", "actions": ["pull", "push"] },
            { "type": "repository", "name": "team/base", "actions": ["pull"] },
        ],
    });
    let header = Header { kid: Some(format!("{algorithm:?}")), ..Header::new(algorithm) };
    format!("Bearer {}", jsonwebtoken::encode(&header, &claims, key).unwrap())
}

fn config(directory: &Path, signers: &[(Algorithm, EncodingKey)]) -> Config {
    let keys: Vec<_> = signers
        .iter()
        .map(|(algorithm, key)| {
            let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, *algorithm).unwrap()).unwrap();
            jwk["kid"] = format!("{algorithm:?}").into();
            jwk
        })
        .collect();
    let (jwks, htpasswd) = (directory.join("jwks.json"), directory.join("htpasswd"));
    std::fs::write(&jwks, json!({ "keys": keys }).to_string()).unwrap();
    std::fs::write(&htpasswd, format!("alice:{}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
    let token = TokenConfig {
        realm: RealmConfig::Fixed("https://auth.example/token".to_owned()),
        service: "service".to_owned(),
        issuer: "issuer".to_owned(),
        root_cert_bundle: None,
        server: None,
        jwks: Some(KeySet::File(jwks)),
        algorithms: SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec(),
    };
    let htpasswd = HtpasswdConfig { realm: "registry".to_owned(), path: htpasswd };
    Config::Closed(Box::new(Ways { htpasswd: Some(htpasswd), token: Some(token), ..Ways::default() }))
}

fn ec_key() -> EncodingKey {
    EncodingKey::from_ec_pem(KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap()
}

fn rsa_key() -> EncodingKey {
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    EncodingKey::from_rsa_pem(KeyPair::try_from(der.as_ref()).unwrap().serialize_pem().as_bytes()).unwrap()
}
