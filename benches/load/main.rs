//! A load generator for registries: few threads, keep-alive connections, requests built beforehand, so that on a small
//! machine the measured server keeps most of the processor. Prints one line of JSON per run; `benches/compare.sh`
//! drives it. It knows HTTP/1.1 and the push and pull endpoints, and nothing of Berth's own code.

mod bad_day;
mod cold;
mod get;
mod image;
mod payload;
mod pull;
mod push;
mod report;
mod verify;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Where the load goes and whose processor time is counted.
#[derive(Args, Clone, Debug)]
struct Target {
    /// Address of the registry, `ip:port`.
    #[arg(long, default_value = "127.0.0.1:5000")]
    address: SocketAddr,
    /// Process ids of the server, separated by commas; their processor time and peak memory are reported.
    #[arg(long, value_delimiter = ',')]
    server: Vec<u32>,
    /// Word that names this run in the printed line.
    #[arg(long, default_value = "")]
    label: String,
}

#[derive(Parser)]
#[command(about = "Drives a registry and prints what it did as one line of JSON.")]
struct Command {
    #[command(subcommand)]
    work: Work,
    /// Cargo adds this word to every bench target; it changes nothing.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Work {
    /// Asks for the same paths over and over on keep-alive connections.
    Get(get::Options),
    /// Pushes blobs of one size, each with content of its own.
    PushBlob(push::Options),
    /// Pushes small images: layers, a config, then the manifest by tag.
    PushImage(image::Options),
    /// Reads back the images that `push-image --list` named and checks every byte against its digest.
    Verify(verify::Options),
    /// Pushes and pulls images from a registry whose store fails now and then, and judges every answer.
    BadDay(bad_day::Options),
    /// Pulls one image once and tells how long that took.
    Pull(pull::Options),
    /// Starts a program several times and tells how long it takes until its first answer.
    ColdStart(cold::Options),
    /// Pushes the fixed content that the reading rows ask for and prints its paths.
    Seed(image::SeedOptions),
}

fn main() -> ExitCode {
    match run(Command::parse().work) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(work: Work) -> io::Result<String> {
    match work {
        Work::Get(options) => get::run(&options),
        Work::PushBlob(options) => push::run(&options),
        Work::PushImage(options) => image::run(&options),
        Work::Verify(options) => verify::run(&options),
        Work::BadDay(options) => bad_day::run(&options),
        Work::Pull(options) => pull::run(&options),
        Work::ColdStart(options) => cold::run(&options),
        Work::Seed(options) => image::seed(&options),
    }
}
