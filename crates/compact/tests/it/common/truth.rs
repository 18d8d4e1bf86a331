//! What was sealed, and so what a tree must hold: the model that the tests hold a tree against, after whatever happened.
//!
//! Each line is known by itself: a good one by its sensor's id, a damaged one by its segment and its number there.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use duckdb::Connection;
use harness::{DataDir, Random, epoch, reading};
use layout::{Commit, Lineage, SegmentCount};

/// A line of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Good,
    Text,
    Empty,
    Nul,
    NotUtf8,
    WrongUnit,
    /// The first half of a message; the last line of its segment, without a terminator.
    Torn,
}

impl Line {
    /// Up to `most` lines, mostly good ones.
    pub(crate) fn generate(random: &mut Random, most: usize) -> Vec<Self> {
        const BAD: [Line; 5] = [Line::Text, Line::Empty, Line::Nul, Line::NotUtf8, Line::WrongUnit];
        let damaged = random.below(3) == 0;
        let count = 1 + random.below(most);
        let mut line = || if damaged && random.below(3) == 0 { BAD[random.below(BAD.len())] } else { Line::Good };
        let mut lines: Vec<_> = (0..count).map(|_| line()).collect();
        if damaged && random.below(3) == 0 {
            lines.push(Self::Torn);
        }
        lines
    }

    fn bytes(self, hour: &str, id: i64) -> Vec<u8> {
        let good = reading(epoch(hour), id, value(id));
        match self {
            Self::Good => good.into_bytes(),
            Self::Text => format!("damaged {id}").into_bytes(),
            Self::Empty => Vec::new(),
            Self::Nul => vec![0; 20],
            Self::NotUtf8 => [good.as_bytes(), b"\xff"].concat(),
            Self::WrongUnit => good.replace("Celcius", "Kelvin").into_bytes(),
            Self::Torn => good.as_bytes()[..good.len() / 2].to_vec(),
        }
    }
}

/// The temperature that the sensor `id` sends.
#[allow(clippy::cast_precision_loss)]
fn value(id: i64) -> f64 {
    id as f64 + 0.5
}

/// A sealed segment.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// Its path in the tree, and that of its hour's Parquet file.
    pub(crate) file: String,
    pub(crate) parquet: String,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The sensors of its good lines.
    pub(crate) good: Vec<i64>,
    /// Its damaged lines by number.
    pub(crate) damaged: BTreeMap<u64, Vec<u8>>,
    /// False when its last copy went with a Parquet file that somebody replaced by an older one.
    pub(crate) owed: bool,
}

/// All that was sealed, and files that are nobody's business.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) segments: Vec<Segment>,
    pub(crate) foreign: BTreeMap<String, Vec<u8>>,
    sensors: i64,
}

/// What was contents in a tree, when all of it is right.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The segments of which raw/ has a file.
    pub(crate) raw: Vec<String>,
    /// The segments that each Parquet file lists.
    pub(crate) listed: BTreeMap<String, Vec<String>>,
    /// Files that were never published.
    pub(crate) unpublished: usize,
}

impl Contents {
    /// Whether a Parquet file lists the segment.
    pub(crate) fn lists(&self, segment: &Segment) -> bool {
        self.listed.get(&segment.parquet).is_some_and(|names| names.contains(&segment.name))
    }
}

impl Truth {
    /// Lines of new sensors, and what becomes of them.
    pub(crate) fn lines(&mut self, hour: &str, lines: &[Line]) -> (Vec<u8>, Vec<i64>, BTreeMap<u64, Vec<u8>>) {
        let (mut bytes, mut good, mut damaged) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (number, line) in (1..).zip(lines) {
            self.sensors += 1;
            let text = line.bytes(hour, self.sensors);
            bytes.extend(&text);
            if *line != Line::Torn {
                bytes.push(b'\n');
            }
            if *line == Line::Good {
                good.push(self.sensors);
            } else {
                damaged.insert(number, text);
            }
        }
        (bytes, good, damaged)
    }

    /// Seals a segment of `lines` in the tree of `data_dir`.
    pub(crate) fn seal(&mut self, data_dir: &DataDir, hour: &str, lines: &[Line]) {
        let (bytes, good, damaged) = self.lines(hour, lines);
        let path = data_dir.seal_bytes("telemetry", hour, &bytes);
        self.add(data_dir, &path, bytes, good, damaged);
    }

    /// Adds a segment that is there.
    pub(crate) fn add(
        &mut self,
        data_dir: &DataDir,
        path: &Path,
        bytes: Vec<u8>,
        good: Vec<i64>,
        damaged: BTreeMap<u64, Vec<u8>>,
    ) {
        let file = super::relative(data_dir, path);
        let (hour, name) = file.strip_suffix(".json").and_then(|file| file.rsplit_once('.')).unwrap();
        let parquet = format!("{}.parquet", hour.replacen("raw/", "parquet/", 1));
        self.segments.push(Segment { name: name.to_owned(), parquet, file, bytes, good, damaged, owed: true });
    }

    /// How many lines were sealed.
    pub(crate) fn count(&self) -> usize {
        self.segments.iter().map(|segment| segment.good.len() + segment.damaged.len()).sum()
    }

    /// Looks through the tree: every line is in Parquet or raw/ (a good one) or quarantine or raw/ (a damaged one), none
    /// twice in Parquet or quarantine, and each Parquet file holds exactly the rows of the segments that it lists.
    pub(crate) fn check(&self, data_dir: &DataDir, reader: &mut Reader) -> Result<Contents, String> {
        let mut contents = Contents::default();
        let mut records = HashMap::new();
        for file in data_dir.files() {
            let path = data_dir.path().join(&file);
            let area = file.split('/').next().unwrap();
            let extension = path.extension().unwrap_or_default().to_str().unwrap();
            match (area, extension) {
                _ if self.foreign.contains_key(&file) => {}
                (_, "tmp") => contents.unpublished += 1,
                // A version of the stream file: its name is that of its text.
                ("raw", "toml") => {
                    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
                    let is_whole = file.ends_with(&format!("/{}.toml", layout::StreamVersion::of(&text)));
                    ensure(is_whole, || format!("{file}: is not the text that its name says"))?;
                }
                ("raw", _) => {
                    self.check_raw(&file, &path)?;
                    contents.raw.push(file);
                }
                ("quarantine", "json") => read_records(&path, &mut records)?,
                ("parquet", "parquet") => {
                    let names = self.check_parquet(&file, &path, reader)?;
                    contents.listed.insert(file, names);
                }
                _ => return Err(format!("{file}: what is it?")),
            }
        }
        for (file, bytes) in &self.foreign {
            let there = std::fs::read(data_dir.path().join(file)).ok();
            ensure(there.as_ref() == Some(bytes), || format!("{file}: was not ours, and is gone or changed"))?;
        }
        for segment in self.segments.iter().filter(|segment| segment.owed) {
            ensure(contents.raw.contains(&segment.file) || contents.lists(segment), || {
                format!("lost: the {} rows of {}", segment.good.len(), segment.file)
            })?;
        }
        self.check_quarantine(&contents, records)?;
        Ok(contents)
    }

    /// As [`Truth::check`], and there is nothing left to do.
    pub(crate) fn check_done(&self, data_dir: &DataDir, reader: &mut Reader) -> Result<Contents, String> {
        let contents = self.check(data_dir, reader)?;
        ensure(contents.raw.is_empty(), || format!("left in raw/: {:?}", contents.raw))?;
        Ok(contents)
    }

    fn check_raw(&self, file: &str, path: &Path) -> Result<(), String> {
        let known = self.segments.iter().find(|segment| segment.file == file);
        let known = known.ok_or_else(|| format!("{file}: nobody sealed that"))?;
        ensure(std::fs::read(path).ok().as_ref() == Some(&known.bytes), || format!("{file}: is not what was sealed"))
    }

    /// Returns the names of the segments that the Parquet file lists.
    fn check_parquet(&self, file: &str, path: &Path, reader: &mut Reader) -> Result<Vec<String>, String> {
        let commit = Commit::read(path).map_err(|error| error.to_string())?;
        let Lineage::Segments(listed) = commit.lineage else { return Err(format!("{file}: is a query's")) };
        let (mut sensors, mut names) = (Vec::<i64>::new(), Vec::new());
        for SegmentCount { name, lines, damaged } in listed {
            let known = self.segments.iter().find(|s| s.name == name.to_string() && s.parquet == file);
            let known = known.ok_or_else(|| format!("{file}: lists {name}, which was not sealed for this hour"))?;
            let counts = (known.good.len() + known.damaged.len(), known.damaged.len());
            ensure((lines, damaged) == (counts.0 as u64, counts.1 as u64), || {
                format!("{file}: lists {name} with {lines} lines, {damaged} of them damaged, but it has {counts:?}")
            })?;
            ensure(!names.contains(&known.name), || format!("{file}: lists {name} twice"))?;
            names.push(known.name.clone());
            sensors.extend(&known.good);
        }
        sensors.sort_unstable();
        let found = reader.sensors(path)?;
        ensure(found == sensors, || format!("lost or doubled: {file} holds {found:?} and lists {sensors:?}"))?;
        Ok(names)
    }

    /// Every record is that of a damaged line, and every damaged line of a listed segment has one.
    fn check_quarantine(&self, found: &Contents, mut records: HashMap<String, Vec<u8>>) -> Result<(), String> {
        for segment in &self.segments {
            for (number, bytes) in &segment.damaged {
                let source = format!("{}:{number}", segment.file);
                match records.remove(&source) {
                    Some(kept) => ensure(kept == *bytes, || format!("quarantine: {source} is another line"))?,
                    None => ensure(!found.lists(segment), || format!("lost: the damaged line {source}"))?,
                }
            }
        }
        ensure(records.is_empty(), || format!("quarantine: nobody sealed {:?}", records.keys()))
    }
}

/// Adds the records of a quarantine file by their source.
fn read_records(path: &Path, records: &mut HashMap<String, Vec<u8>>) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    ensure(bytes.ends_with(b"\n"), || format!("{}: is torn", path.display()))?;
    for record in bytes.split_inclusive(|byte| *byte == b'\n') {
        let record: serde_json::Value =
            serde_json::from_slice(record).map_err(|error| format!("{}: {error}", path.display()))?;
        let line = match (record["line"].as_str(), record["line_base64"].as_str()) {
            (Some(line), None) => line.as_bytes().to_vec(),
            (None, Some(base64)) => BASE64.decode(base64).map_err(|error| error.to_string())?,
            other => return Err(format!("{}: {other:?}", path.display())),
        };
        let source = record["source"].as_str().unwrap_or_default().to_owned();
        ensure(!records.contains_key(&source), || format!("doubled: {source} in quarantine"))?;
        records.insert(source, line);
    }
    Ok(())
}

/// Reads Parquet files, and those that did not change only once.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    known: HashMap<(PathBuf, u64, i64, i64), Vec<i64>>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let config = duckdb::Config::default().with("threads", "1").unwrap();
        Self { connection: Connection::open_in_memory_with_flags(config).unwrap(), known: HashMap::new() }
    }

    /// The sensors of the rows, in order.
    fn sensors(&mut self, path: &Path) -> Result<Vec<i64>, String> {
        let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
        let key = (path.to_owned(), file.ino(), file.mtime(), file.mtime_nsec());
        if let Some(sensors) = self.known.get(&key) {
            return Ok(sensors.clone());
        }
        if self.known.len() > 100 {
            self.known.clear();
        }
        let sensors = self.read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.known.insert(key, sensors.clone());
        Ok(sensors)
    }

    fn read(&self, path: &Path) -> duckdb::Result<Vec<i64>> {
        let sql = format!(
            "SELECT if(measurement_value = sensor_id + 0.5, sensor_id, -1) FROM read_parquet('{}') ORDER BY ALL",
            path.display()
        );
        let mut statement = self.connection.prepare(&sql)?;
        statement.query_map([], |row| row.get(0))?.collect()
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
