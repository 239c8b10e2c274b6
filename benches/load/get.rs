//! Reading at full speed: every connection has one request under way, one thread serves them all with epoll. Large
//! bodies are dropped inside the kernel, so the client costs little beside the server.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::Target;
use crate::report::{Meter, Tally};
use crate::wire::{self, Method, Reader};

/// What to ask for and how hard.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Path to ask for; several are asked for in turn.
    #[arg(long, required = true)]
    path: Vec<String>,
    /// Asks with HEAD.
    #[arg(long)]
    head: bool,
    /// Value of the Accept header.
    #[arg(long, default_value = "*/*")]
    accept: String,
    /// Connections kept open at the same time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Threads that share the connections.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Measured time.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Unmeasured time before it.
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
}

struct Client {
    stream: TcpStream,
    reader: Reader,
    sent: Instant,
    next: usize,
}

/// Runs the load, first unmeasured, then measured.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    drive(options, Duration::from_secs_f64(options.warm_up))?;
    let meter = Meter::start(&options.target)?;
    let tally = drive(options, Duration::from_secs_f64(options.seconds))?;
    meter.stop(if options.head { "head" } else { "get" }, &options.target, tally)
}

fn drive(options: &Options, time: Duration) -> io::Result<Tally> {
    let method = if options.head { Method::Head } else { Method::Get };
    let word = if options.head { "HEAD" } else { "GET" };
    let address = options.target.address;
    let requests: Vec<Vec<u8>> = options
        .path
        .iter()
        .map(|path| {
            format!("{word} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {}\r\n\r\n", options.accept).into_bytes()
        })
        .collect();
    let share = options.connections.div_ceil(options.threads.max(1));
    let mut total = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads.max(1))
            .map(|_| scope.spawn(|| work(address, method, &requests, share, time)))
            .collect();
        for worker in workers {
            total.merge(worker.join().map_err(|_| io::Error::other("a worker stopped early"))??);
        }
        Ok(total)
    })
}

fn work(
    address: SocketAddr,
    method: Method,
    requests: &[Vec<u8>],
    connections: usize,
    time: Duration,
) -> io::Result<Tally> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut clients = Vec::with_capacity(connections);
    for number in 0..connections {
        let stream = wire::open(address)?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
        clients.push(Client { stream, reader: Reader::new(method), sent: Instant::now(), next: number });
    }
    let end = Instant::now() + time;
    for client in &mut clients {
        client.ask(requests)?;
    }
    let mut tally = Tally::default();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut events = Vec::with_capacity(connections.max(1));
    let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
    let mut busy = connections;
    while busy > 0 {
        epoll::wait(&poll, spare_capacity(&mut events), Some(&patience))?;
        if events.is_empty() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the server did not answer for 60 s"));
        }
        for event in events.drain(..) {
            let number = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let Some(client) = clients.get_mut(number) else { continue };
            if !client.read(&mut buffer)? {
                continue;
            }
            let now = Instant::now();
            if client.reader.status() >= 300 {
                tally.errors += 1;
            }
            tally.finish(now - client.sent, client.reader.body_bytes());
            if now < end {
                client.ask(requests)?;
            } else {
                busy -= 1;
            }
        }
    }
    Ok(tally)
}

impl Client {
    fn ask(&mut self, requests: &[Vec<u8>]) -> io::Result<()> {
        let request = requests.get(self.next % requests.len().max(1)).map(Vec::as_slice).unwrap_or_default();
        self.next += 1;
        self.reader.reset();
        self.sent = Instant::now();
        // The connection is idle, so its send buffer is empty and takes a request of this size whole.
        let sent = send(&self.stream, request, SendFlags::NOSIGNAL)?;
        if sent == request.len() { Ok(()) } else { Err(io::Error::other("a request did not fit the send buffer")) }
    }

    /// Reads what has arrived; true at the end of the answer.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let discardable = usize::try_from(self.reader.discardable()).unwrap_or(usize::MAX);
            let outcome = if discardable > 0 {
                let size = discardable.min(buffer.len());
                // TRUNC on a stream socket drops the bytes inside the kernel.
                recv(&self.stream, buffer.get_mut(..size).unwrap_or_default(), RecvFlags::TRUNC)
            } else {
                recv(&self.stream, &mut *buffer, RecvFlags::empty())
            };
            let count = match outcome {
                Ok((_, count)) => count,
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            if count == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed a connection in use"));
            }
            let done = if discardable > 0 {
                self.reader.discarded(count as u64)
            } else {
                self.reader.feed(buffer.get(..count).unwrap_or_default())?
            };
            if done {
                return Ok(true);
            }
        }
    }
}
