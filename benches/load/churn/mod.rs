//! Clients that push, re-tag, delete and pull images and indexes which share a dozen layers, while collectors run: the load of
//! `conformance/gc.sh` and `conformance/soak.sh`, and their first judge. Each client knows what must stand under its own
//! tags and counts everything else as wrong; at the end all that stands is printed as `repository tag digest`.

mod client;
mod content;
mod random;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use self::client::Client;

/// What to do and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Addresses of the replicas, separated by commas; each request goes to one of them by chance.
    #[arg(long, value_delimiter = ',', required = true)]
    address: Vec<SocketAddr>,
    /// Time after which nothing new is begun.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Clients that work at the same time.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Repositories that all clients push to.
    #[arg(long, default_value_t = 3)]
    repositories: usize,
    /// Layers that all images share.
    #[arg(long, default_value_t = 12)]
    layers: usize,
    /// Bytes of each layer.
    #[arg(long, default_value_t = 16 << 10)]
    size: usize,
    /// Chooses what the clients do.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What the clients saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// Things that happened, by name.
    counts: BTreeMap<&'static str, u64>,
    /// What must not happen.
    wrong: Vec<String>,
    /// What stands: repository, tag, digest.
    standing: Vec<String>,
}

impl Seen {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.wrong.extend(other.wrong);
        self.standing.extend(other.standing);
    }
}

/// Runs the clients; fails when anything was wrong.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(options.seconds);
    let layers = content::layers(options.layers, options.size);
    let mut seen = Seen::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..options.clients)
            .map(|number| {
                let layers = &layers;
                scope.spawn(move || {
                    let chance = options.seed.wrapping_mul(1000) + number as u64;
                    Client::new(number, &options.address, options.repositories, layers, chance).work(end)
                })
            })
            .collect();
        for client in clients {
            seen.merge(client.join().map_err(|_| io::Error::other("a client stopped early"))?);
        }
        Ok::<_, io::Error>(())
    })?;
    for line in &seen.standing {
        println!("{line}");
    }
    for line in seen.wrong.iter().take(20) {
        eprintln!("load: {line}");
    }
    let line = json!({
        "operation": "churn",
        "seed": options.seed,
        "seconds": begun.elapsed().as_secs_f64(),
        "standing": seen.standing.len(),
        "counts": seen.counts,
        "wrong": seen.wrong.len(),
    });
    if seen.wrong.is_empty() { Ok(line.to_string()) } else { Err(io::Error::other(line.to_string())) }
}
