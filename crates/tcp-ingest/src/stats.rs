//! Statistics: counted by everybody, read for the log and the metrics file.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use models::Reason;
use tokio::time::{Interval, interval};

use crate::args::Config;
use crate::batch::Batch;
use crate::streams::Stream;

const LOG_EVERY: Duration = Duration::from_secs(60);
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// All counters of the process. Each is touched once a batch or less.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    streams: Vec<StreamStats>,
    metrics_file: Option<PathBuf>,
    pub(crate) connections: AtomicU64,
    pub(crate) accepted_connections: AtomicU64,
    pub(crate) open_segments: AtomicU64,
    pub(crate) sealed_segments: AtomicU64,
    /// Whether writing is waiting for the storage to work again.
    pub(crate) waiting: AtomicBool,
}

#[derive(Debug, Default)]
struct StreamStats {
    name: String,
    bytes: AtomicU64,
    lines: AtomicU64,
    empty_lines: AtomicU64,
    dropped: AtomicU64,
    rejects: [AtomicU64; Reason::ALL.len()],
}

impl Stats {
    pub(crate) fn new(config: &Config) -> Self {
        let stream = |stream: &Stream| StreamStats { name: stream.name.to_string(), ..StreamStats::default() };
        let streams = config.streams.iter().map(stream).collect();
        Self { streams, metrics_file: config.metrics_file.clone(), ..Self::default() }
    }

    pub(crate) fn written(&self, stream: usize, batch: &Batch) {
        let Some(stream) = self.streams.get(stream) else { return };
        stream.bytes.fetch_add(batch.taken as u64, Relaxed);
        stream.lines.fetch_add(batch.lines, Relaxed);
        if batch.empty_lines > 0 {
            stream.empty_lines.fetch_add(batch.empty_lines, Relaxed);
        }
        if batch.dropped > 0 {
            stream.dropped.fetch_add(batch.dropped, Relaxed);
        }
        if !batch.rejected.is_empty() {
            for (counter, count) in stream.rejects.iter().zip(batch.rejects) {
                counter.fetch_add(count, Relaxed);
            }
        }
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.streams.iter().flat_map(|stream| &stream.rejects).map(|count| count.load(Relaxed)).sum()
    }

    pub(crate) fn rejections(&self) -> String {
        self.streams.iter().map(StreamStats::rejections).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// Writes the metrics file, if there is to be one, whole or not at all.
    pub(crate) fn write_metrics(&self) {
        let Some(path) = &self.metrics_file else { return };
        let temporary = path.with_extension("tmp");
        let written = std::fs::write(&temporary, self.metrics()).and_then(|()| std::fs::rename(&temporary, path));
        if let Err(error) = written {
            log::warn!("{}: cannot write the metrics: {error}", path.display());
        }
    }

    /// The statistics in the Prometheus text format.
    fn metrics(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, values: Vec<(String, u64)>| {
            let _ = writeln!(text, "# HELP tcp_ingest_{name} {help}\n# TYPE tcp_ingest_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(text, "tcp_ingest_{name}{labels} {value}");
            }
        };
        let one = |value: &AtomicU64| vec![(String::new(), value.load(Relaxed))];
        let each = |value: fn(&StreamStats) -> &AtomicU64| {
            let labelled =
                |stream: &StreamStats| (format!("{{stream=\"{}\"}}", stream.name), value(stream).load(Relaxed));
            self.streams.iter().map(labelled).collect()
        };
        let rejects = self.streams.iter().flat_map(|stream| {
            Reason::ALL.iter().zip(&stream.rejects).map(|(reason, count)| {
                (format!("{{stream=\"{}\",reason=\"{reason}\"}}", stream.name), count.load(Relaxed))
            })
        });
        metric("connections", "gauge", "Open connections.", one(&self.connections));
        metric("connections_total", "counter", "Connections accepted.", one(&self.accepted_connections));
        metric("bytes_total", "counter", "Bytes taken and written.", each(|stream| &stream.bytes));
        metric("lines_total", "counter", "Lines accepted and written to raw/.", each(|stream| &stream.lines));
        let empty = each(|stream| &stream.empty_lines);
        metric("empty_lines_total", "counter", "Empty lines (signs of life), which are not kept.", empty);
        let dropped = each(|stream| &stream.dropped);
        metric("dropped_messages_total", "counter", "Messages that the stream file says are not kept.", dropped);
        metric("rejected_lines_total", "counter", "Lines written to quarantine/.", rejects.collect());
        metric("open_segments", "gauge", "Segments being written.", one(&self.open_segments));
        metric("sealed_segments_total", "counter", "Segments sealed.", one(&self.sealed_segments));
        let waiting = vec![(String::new(), u64::from(self.waiting.load(Relaxed)))];
        metric("storage_waiting", "gauge", "1 while writing waits for the storage.", waiting);
        text
    }
}

impl StreamStats {
    fn rejections(&self) -> String {
        let counts = Reason::ALL.iter().zip(&self.rejects).map(|(reason, count)| (reason, count.load(Relaxed)));
        let counts = counts.filter(|(_, count)| *count > 0).map(|(reason, count)| format!("{reason} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (connections, open) = (self.connections.load(Relaxed), self.open_segments.load(Relaxed));
        write!(f, "{}, {}", cli::count(connections, "connection"), cli::count(open, "open segment"))?;
        for stream in &self.streams {
            let (lines, bytes) = (stream.lines.load(Relaxed), stream.bytes.load(Relaxed));
            write!(f, "; {}: {} accepted, {bytes} bytes", stream.name, cli::count(lines, "line"))?;
            if let empty @ 1.. = stream.empty_lines.load(Relaxed) {
                write!(f, ", {}", cli::count(empty, "empty line"))?;
            }
            if let dropped @ 1.. = stream.dropped.load(Relaxed) {
                write!(f, ", {dropped} dropped")?;
            }
            let rejections = stream.rejections();
            if !rejections.is_empty() {
                write!(f, ", rejected: {rejections}")?;
            }
        }
        Ok(())
    }
}

/// Logs the statistics and writes the metrics file, each at its time.
pub(crate) struct Reporter {
    log: Interval,
    metrics: Interval,
}

impl Reporter {
    pub(crate) fn new() -> Self {
        let mut log = interval(LOG_EVERY);
        log.reset();
        Self { log, metrics: interval(METRICS_EVERY) }
    }

    /// Waits until something is to be reported, and reports it. May be dropped and called again.
    pub(crate) async fn tick(&mut self, stats: &Stats) {
        tokio::select! {
            _ = self.log.tick() => log::info!("{stats}"),
            _ = self.metrics.tick() => stats.write_metrics(),
        }
    }
}
