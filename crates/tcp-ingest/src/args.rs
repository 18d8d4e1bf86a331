//! The command line: as typed, and as checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cli::{CommonArgs, Size, Usage};
use layout::{Hour, Name, Tree};
use models::Frame;

use crate::streams::{Stream, StreamFiles};

/// Receive TCP streams, validate every message, and write it to hourly segments.
///
/// What a stream's messages hold says its stream file. What that accepts goes to raw/, everything else to quarantine/ with the
/// reason. SIGTERM and SIGINT stop it cleanly: it takes what the sources have sent, writes, syncs, seals and exits.
/// SIGHUP replaces the process that serves connections by one from the binary and stream files on disk, SIGUSR2 the one that holds them;
/// no connection is closed. SIGUSR1 logs the statistics.
#[derive(Debug, clap::Parser)]
#[command(name = "tcp-ingest", version = cli::VERSION)]
pub struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Listen for a stream: telemetry=127.0.0.1:9000 (repeatable; port 0 takes a free one, which the log names)
    #[arg(long, value_name = "STREAM=ADDRESS:PORT", value_parser = listen)]
    listen: Vec<(Name, SocketAddr)>,

    /// Read a stream from standard input instead, then seal and exit
    #[arg(long, value_name = "STREAM", conflicts_with = "listen")]
    stdin: Option<Name>,

    /// Try a stream on a capture on standard input, and write nothing; without a capture, look at its file alone
    #[arg(long, value_name = "STREAM", conflicts_with_all = ["listen", "stdin"])]
    pub(crate) check: Option<Name>,

    /// Propose a stream file for a capture on standard input
    #[arg(long, conflicts_with_all = ["listen", "stdin", "check"])]
    pub(crate) infer: bool,

    /// Judge again what is in a stream's quarantine, after its file was mended; what is accepted goes to raw/, once
    #[arg(long, value_name = "STREAM", conflicts_with_all = ["listen", "stdin", "check", "infer", "earliest", "max_ahead"])]
    pub(crate) replay: Option<Name>,

    /// With --replay: only what arrived from this hour on, UTC: 2025-09-02T10, 2025-09-02, 2025-09 or 2025
    #[arg(long, value_name = "TIME", requires = "replay")]
    pub(crate) from: Option<Hour>,

    /// With --replay: only what arrived before this hour, UTC
    #[arg(long, value_name = "TIME", requires = "replay")]
    pub(crate) to: Option<Hour>,

    #[command(flatten)]
    pub(crate) settings: Settings,

    /// Threads that serve connections [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,

    /// Write the statistics to this file, in the Prometheus text format, every few seconds
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
}

/// What is right by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Also write accepted lines to standard output
    #[arg(long)]
    pub(crate) stdout: bool,

    /// Longest line, 1KiB to 1MiB; a longer one goes to quarantine
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = line_size)]
    pub(crate) max_line: usize,

    /// Most connections at a time; more wait to be accepted
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_connections: u32,

    /// Close a connection that sends nothing for so long [default: never]
    #[arg(long, value_name = "DURATION", value_parser = not_zero)]
    pub(crate) idle_timeout: Option<humantime::Duration>,

    /// Reject event times before this
    #[arg(long, value_name = "TIME", default_value = "1970")]
    pub(crate) earliest: Hour,

    /// Reject event times further ahead of the clock than this
    #[arg(long, value_name = "DURATION", default_value = "1day")]
    pub(crate) max_ahead: humantime::Duration,

    /// Seal a segment when it is as large as this
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub(crate) seal_size: Size,

    /// Seal a segment when it is as old as this
    #[arg(long, value_name = "DURATION", default_value = "5min")]
    pub(crate) seal_after: humantime::Duration,

    /// Sync open segments this often: what a crash of the machine can cost at most
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = not_zero)]
    pub(crate) sync_every: humantime::Duration,

    /// Most open segments at a time; beyond it the least recently used are sealed
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=100_000))]
    pub(crate) max_open: u32,

    /// How long to go on after SIGTERM until all that was sent is taken
    ///
    /// From SIGTERM on no new connection is accepted. Each open one is read until the source closes it, or has sent nothing
    /// for 0.7 seconds: then nothing of it is on its way any more. A source that never pauses finds its connection closed
    /// when this time is almost up, and is named in the log; all that was acknowledged to it is written. What cannot be
    /// written in this time, because the disk is full or the data directory is gone, is lost: each connection is named with
    /// the number of its unread bytes, and the exit status is 1.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = bounded)]
    pub(crate) drain_timeout: humantime::Duration,
}

fn listen(text: &str) -> Result<(Name, SocketAddr), String> {
    let (stream, address) = text.split_once('=').ok_or_else(|| format!("{text:?} is not STREAM=ADDRESS:PORT"))?;
    let address = address.parse().map_err(|_| {
        format!("{address:?} is not an IP address with a port, like 127.0.0.1:9000, or 0.0.0.0:9000 for all")
    })?;
    Ok((stream.parse()?, address))
}

/// The kernel must be able to hold a whole line, since a line is consumed only when it is complete and written.
fn line_size(text: &str) -> Result<usize, String> {
    let size: Size = text.parse()?;
    let size = usize::try_from(size.0).ok().filter(|size| (1024..=1 << 20).contains(size));
    size.ok_or_else(|| "must be 1KiB to 1MiB".into())
}

fn not_zero(text: &str) -> Result<humantime::Duration, String> {
    let duration: humantime::Duration = text.parse().map_err(|error| format!("{error}"))?;
    if duration.is_zero() { Err("must be longer than that".into()) } else { Ok(duration) }
}

/// No longer than a century, so that it can be added to the time.
fn bounded(text: &str) -> Result<humantime::Duration, humantime::DurationError> {
    let duration: humantime::Duration = text.parse()?;
    Ok((*duration).min(Duration::from_secs(100 * 366 * 86_400)).into())
}

/// What the arguments say, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    pub(crate) tree: Tree,
    pub(crate) streams: Vec<Stream>,
    /// Where to listen, each with the index of its stream; nowhere when standard input is read.
    pub(crate) addresses: Vec<(usize, SocketAddr)>,
    pub(crate) workers: usize,
    pub(crate) metrics_file: Option<PathBuf>,
}

impl Config {
    /// `follows`: whether it is for a worker that follows a dead one.
    pub(crate) fn new(args: Args, follows: bool) -> anyhow::Result<Self> {
        if args.listen.is_empty() && args.stdin.is_none() {
            let what = "where do messages come from? Give --listen STREAM=ADDRESS:PORT, or --stdin STREAM for a pipe";
            return Err(Usage(what.into()).into());
        }
        let files = StreamFiles::read(&args.common, follows)?;
        let mut streams = Vec::new();
        let addresses = args.listen.iter().map(|(name, address)| Ok((index(&mut streams, &files, name)?, *address)));
        let addresses = addresses.collect::<anyhow::Result<_>>()?;
        let workers = match (&args.stdin, args.workers) {
            (Some(name), _) => index(&mut streams, &files, name).map(|_| 1)?,
            (None, Some(workers)) => usize::from(workers),
            (None, None) => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let Args { common, settings, metrics_file, .. } = args;
        Ok(Self { settings, tree: common.tree(), streams, addresses, workers, metrics_file })
    }

    pub(crate) fn stream_name(&self, stream: usize) -> &str {
        self.streams.get(stream).map_or("", |stream| stream.name.as_str())
    }

    /// How the documents of a stream are told apart.
    pub(crate) fn frame(&self, stream: usize) -> Frame {
        self.streams.get(stream).map_or(Frame::Lines, |stream| stream.model.frame)
    }

    pub(crate) fn max_open_each(&self) -> usize {
        (self.settings.max_open as usize / self.workers).max(8)
    }

    /// How many hours one batch may touch, so that its segments and the one of the quarantine can be open at once.
    pub(crate) fn max_hours(&self) -> usize {
        self.max_open_each() / 2
    }
}

/// The index of a stream, which is added if it is not there yet.
fn index(streams: &mut Vec<Stream>, files: &StreamFiles, name: &Name) -> anyhow::Result<usize> {
    if let Some(known) = streams.iter().position(|stream| stream.name == *name) {
        return Ok(known);
    }
    streams.push(files.stream(name)?);
    Ok(streams.len() - 1)
}
