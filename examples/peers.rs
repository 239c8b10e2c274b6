//! The test servers of `tests/peers` as a program, for the scripts of `conformance/` and `benches/`: an S3 and an OSS
//! store that keep their objects in memory, and the proxy that spoils the way to a store.

#[path = "../tests/peers/mod.rs"]
mod peers;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser};
use peers::faults::{Fault, FaultProxy, Plan};
use peers::oss::OssOptions;
use peers::s3::{S3Options, S3Server};
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(about = "Object stores and a fault proxy to test a registry against.")]
enum Command {
    /// An S3 store with one bucket.
    S3(Store),
    /// An OSS store with one bucket.
    Oss(Store),
    /// A proxy before a store that adds latency and spoils requests; `GET /-/counts` tells what went through.
    Faults(Spoil),
}

#[derive(Args)]
struct Store {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The one bucket there is.
    #[arg(long)]
    bucket: String,
    /// The one account's access key.
    #[arg(long)]
    access_key: String,
    /// The one account's secret key.
    #[arg(long)]
    secret_key: String,
    /// The region that requests must be signed for.
    #[arg(long)]
    region: String,
}

#[derive(Args)]
struct Spoil {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The store.
    #[arg(long)]
    to: SocketAddr,
    /// Chooses which requests are spoiled, and how.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of a hundred requests, how many are spoiled.
    #[arg(long, default_value_t = 0)]
    percent: u64,
    /// The ways to spoil a request, separated by commas (default: all that pass).
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    faults: Vec<Fault>,
    /// Milliseconds added to every request.
    #[arg(long, default_value_t = 0)]
    latency: u64,
}

fn fault(name: &str) -> Result<Fault, String> {
    Fault::named(name).ok_or_else(|| format!("there is no fault '{name}'"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse() {
        Command::S3(store) => {
            let Store { listen, bucket, access_key, secret_key, region } = store;
            let options = S3Options { region, bucket, access_key, secret_key, habits: Vec::new() };
            let _server = S3Server::on(tokio::net::TcpListener::bind(listen).await?, options);
            std::future::pending::<()>().await;
        }
        Command::Oss(store) => {
            let Store { listen, bucket, access_key, secret_key, region } = store;
            let options = OssOptions {
                region: region.trim_start_matches("oss-").to_owned(),
                bucket,
                access_key_id: access_key,
                access_key_secret: secret_key,
                security_token: None,
            };
            peers::oss::serve(TcpListener::bind(listen).await?, options).await;
        }
        Command::Faults(spoil) => {
            let faults = if spoil.faults.is_empty() { Fault::PASSING.to_vec() } else { spoil.faults };
            let latency = Duration::from_millis(spoil.latency);
            let plan = Plan { seed: spoil.seed, percent: spoil.percent, faults, latency };
            FaultProxy::on(TcpListener::bind(spoil.listen).await?, spoil.to, plan)?.run().await;
        }
    }
    Ok(())
}
