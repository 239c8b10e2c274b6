//! Pushing blobs: each has content of its own and goes the way the named client would send it. Idle connections can be
//! held open beside the pushes, to see what they cost the server in memory.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::{Args, ValueEnum};

use crate::Target;
use crate::payload::{Payload, Unique};
use crate::report::{Meter, Tally};
use crate::wire::{Connection, Reader, Reuse};

/// The order of requests by which a client pushes one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// POST, PATCH with the content, closing PUT: crane, podman.
    Patch,
    /// HEAD, POST, PUT with the content: containerd, oras, helm.
    Put,
    /// HEAD, POST, PATCH of unannounced length, PUT, HEAD, a connection for each: docker's graph-driver store.
    Docker,
}

impl Style {
    /// How this client uses connections.
    pub(crate) fn reuse(self) -> Reuse {
        if self == Self::Docker { Reuse::Never } else { Reuse::Always }
    }
}

/// What to push and how hard.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Repository to push to.
    #[arg(long, default_value = "bench/blobs")]
    repository: String,
    /// Bytes of each blob.
    #[arg(long, default_value_t = 64 << 20)]
    size: usize,
    /// Blobs to push in total.
    #[arg(long, default_value_t = 16)]
    count: usize,
    /// Connections that push at the same time.
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// The order of requests.
    #[arg(long, value_enum, default_value = "patch")]
    style: Style,
    /// Blobs that share no stretch of bytes, for stores that keep equal stretches once.
    #[arg(long)]
    apart: bool,
    /// Connections that ask for `/v2/` once and then stay open without a word until the end.
    #[arg(long, default_value_t = 0)]
    idle: usize,
}

/// Runs the load.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let payload = Payload::new(options.size);
    let next = AtomicU64::new(1);
    let idle = hold(options)?;
    let meter = Meter::start(&options.target)?;
    let tally = share(
        options.connections,
        options.count,
        |connection, tally| {
            let own = options.apart.then(|| Payload::apart(options.size, next.fetch_add(1, Ordering::Relaxed)));
            let payload = own.as_ref().unwrap_or(&payload);
            let unique = payload.unique();
            let begun = Instant::now();
            blob(connection, options.style, &options.repository, payload, &unique)?;
            tally.finish(begun.elapsed(), payload.size() as u64);
            Ok(())
        },
        || Connection::new(options.target.address, options.style.reuse()),
    )?;
    let line = meter.stop("push-blob", &options.target, tally)?;
    drop(idle);
    Ok(line)
}

/// Opens the idle connections, each of which has had one answer.
fn hold(options: &Options) -> io::Result<Vec<Connection>> {
    let mut held = Vec::with_capacity(options.idle);
    for _ in 0..options.idle {
        let mut connection = Connection::new(options.target.address, Reuse::Always);
        connection.send("GET", "/v2/", "", &[])?;
        held.push(connection);
    }
    Ok(held)
}

/// Does `count` operations on `connections` threads, each with a connection of its own.
pub(crate) fn share(
    connections: usize,
    count: usize,
    operation: impl Fn(&mut Connection, &mut Tally) -> io::Result<()> + Sync,
    connect: impl Fn() -> Connection + Sync,
) -> io::Result<Tally> {
    let taken = AtomicUsize::new(0);
    let work = || -> io::Result<Tally> {
        let mut connection = connect();
        let mut tally = Tally::default();
        while taken.fetch_add(1, Ordering::Relaxed) < count {
            operation(&mut connection, &mut tally)?;
        }
        Ok(tally)
    };
    let mut total = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..connections.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            total.merge(worker.join().map_err(|_| io::Error::other("a worker stopped early"))??);
        }
        Ok(total)
    })
}

/// Pushes one blob.
pub(crate) fn blob(
    connection: &mut Connection,
    style: Style,
    repository: &str,
    payload: &Payload,
    unique: &Unique,
) -> io::Result<()> {
    let parts = [payload.beginning(), unique.ending.as_slice()];
    bytes(connection, style, repository, &unique.digest, &parts)
}

/// Pushes the blob that consists of `parts`.
pub(crate) fn bytes(
    connection: &mut Connection,
    style: Style,
    repository: &str,
    digest: &str,
    parts: &[&[u8]],
) -> io::Result<()> {
    let blob = format!("/v2/{repository}/blobs/{digest}");
    if style != Style::Patch {
        expect(connection.send("HEAD", &blob, "", &[])?, &[200, 404], "HEAD blob")?;
    }
    let answer = connection.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[])?;
    expect(answer, &[202], "POST")?;
    let mut session = location(answer)?;
    if style != Style::Put {
        let answer = match style {
            Style::Docker => connection.stream("PATCH", &session, parts)?,
            _ => connection.send("PATCH", &session, "Content-Type: application/octet-stream\r\n", parts)?,
        };
        expect(answer, &[202], "PATCH")?;
        session = location(answer)?;
    }
    let mark = if session.contains('?') { '&' } else { '?' };
    let close = format!("{session}{mark}digest={}", digest.replace(':', "%3A"));
    let body = if style == Style::Put { parts } else { &[] };
    let answer = connection.send("PUT", &close, "Content-Type: application/octet-stream\r\n", body)?;
    expect(answer, &[201], "PUT")?;
    if style == Style::Docker {
        expect(connection.send("HEAD", &blob, "", &[])?, &[200], "HEAD blob")?;
    }
    Ok(())
}

/// Fails unless the answer has one of these statuses.
pub(crate) fn expect(answer: &Reader, wanted: &[u16], request: &str) -> io::Result<()> {
    if wanted.contains(&answer.status()) {
        return Ok(());
    }
    Err(io::Error::other(format!("{request} was answered {}, not {wanted:?}", answer.status())))
}

/// Path and query of the Location header, whichever form the server gave it.
pub(crate) fn location(answer: &Reader) -> io::Result<String> {
    let text = answer.header("location").ok_or_else(|| io::Error::other("the answer has no Location"))?;
    let path = match text.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => text,
    };
    Ok(path.to_owned())
}
