//! What can go wrong with the machine, and so for many hours in the same way, and what to do about it.

/// One of the texts is in the message, and this is to be done. Such errors come from the system, from layout and from
/// DuckDB, and only their text has all of it.
const CAUSES: [(&[&str], &str); 4] = [
    (&["max_temp_directory_size"], "make room in --temp-dir, or name another folder"),
    (&["No space left on device", "Disk quota exceeded"], "make room"),
    (&["Read-only file system"], "make it writable"),
    (&["Out of Memory Error"], "raise --memory-limit or lower --threads"),
];

/// The text of an error without advice (DuckDB's, which is for its own users, or the tree's), and what to do, if the cause
/// is known.
pub fn known_cause(text: &str) -> (&str, Option<&'static str>) {
    let known = CAUSES.iter().find(|(texts, _)| texts.iter().any(|known| text.contains(known)));
    let end = known.and_then(|_| text.find(" Possible solutions:")).unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(text);
    let Some((_, remedy)) = known else { return (text, None) };
    (text.strip_suffix(remedy).and_then(|text| text.strip_suffix(": ")).unwrap_or(text), Some(remedy))
}
