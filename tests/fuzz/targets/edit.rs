//! Changes to lines of JSON, as devices and their faults make them.
//!
//! What libFuzzer changes by itself is hardly ever JSON any more, let alone twice nearly the same line. Here a line is
//! repeated, and then changed in one place: a digit, a value, a byte. So the lines go where a decoder goes for lines that
//! are like one before, and where that is almost so.

use std::ops::Range;

/// What stands for a value, or for anything else between two of JSON's marks.
const VALUES: [&str; 48] = [
    "0",
    "-0",
    "0.0",
    "-0.0",
    "00",
    "01",
    "-1",
    "-01",
    "1.",
    ".5",
    "+1",
    "1.0",
    "10.5",
    "1e2",
    "1E2",
    "1e999",
    "1.5e-3",
    "123456789012345678",
    "1234567890123456789",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "9223372036854",
    "9223372036855",
    "1756771200",
    "0.30000000000000004",
    "123456789.123456",
    "1234567890.123456",
    "0.000000000000001",
    "2.2250738585072011e-308",
    "\"\"",
    "\"off\"",
    "\"12\"",
    "\"a\\\"b\"",
    "\"\\u00e4\"",
    "\"ä\"",
    "\"\u{7f}\"",
    "\"\u{1}\"",
    "\"Celcius\"",
    "\"Celsius\"",
    "\"Fahrenheit\"",
    "\"Temperature\"",
    "null",
    "true",
    "[1]",
    "{}",
    "\"x\":1",
    "\"sensor_id\":1",
];

/// Bytes that mean something to JSON, to framing, or to the comparing of digits in words.
const BYTES: &[u8] = b"{}[]\",:0123456789.-+eE\\u/ \t\r\n\x00\x7f\x80\xff;xA";

/// Random numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word >> 32) % limit.max(1) as u64).unwrap_or(0)
    }

    fn choose<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Changes the lines after the first `header` of the `size` bytes in `data`, or, now and then, whatever libFuzzer likes.
/// Returns how many bytes there are then.
pub(crate) fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32, header: usize) -> usize {
    let mut dice = Dice(seed.into());
    if size <= header || max_size < size || dice.below(8) == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let mut text = data[header..size].to_vec();
    change(&mut text, &mut dice);
    text.truncate(max_size - header);
    data[header..header + text.len()].copy_from_slice(&text);
    header + text.len()
}

/// Makes one change.
fn change(text: &mut Vec<u8>, dice: &mut Dice) {
    let line = any_line(text, dice);
    let at = line.start + dice.below(line.len());
    match dice.below(14) {
        0 | 1 => {
            let to = any_line(text, dice).start;
            let copy = [&text[line], b"\n"].concat();
            text.splice(to..to, copy);
        }
        2 => drop(text.drain(line.start..text.len().min(line.end + 1))),
        3..=5 => {
            let digits: Vec<_> = line.filter(|at| text[*at].is_ascii_digit()).collect();
            if !digits.is_empty() {
                text[dice.choose(&digits)] = dice.choose(b"0123456789");
            }
        }
        6 | 7 => {
            let value = dice.choose(&VALUES);
            text.splice(value_around(text, line, at), value.bytes());
        }
        8 => {
            let number = number(dice);
            text.splice(value_around(text, line, at), number);
        }
        9 if at < text.len() => text[at] = dice.choose(BYTES),
        10 | 11 => text.insert(at, dice.choose(BYTES)),
        12 if at < text.len() => drop(text.remove(at)),
        _ => {
            // Ends as another line does.
            let other = any_line(text, dice);
            let from = other.start + dice.below(other.len());
            let end = text[from..other.end].to_vec();
            text.splice(at..line.end, end);
        }
    }
}

/// A number of any length and form, and now and then not quite one.
fn number(dice: &mut Dice) -> Vec<u8> {
    let mut number = Vec::new();
    let digits = |number: &mut Vec<u8>, dice: &mut Dice, most| {
        let count = dice.below(most);
        number.extend((0..count).map(|_| dice.choose(b"0123456789")));
    };
    if dice.below(4) == 0 {
        number.push(b'-');
    }
    let most = dice.choose(&[3, 12, 21]);
    digits(&mut number, dice, most);
    if dice.below(4) > 0 {
        number.push(b'.');
        let most = dice.choose(&[3, 12, 21]);
        digits(&mut number, dice, most);
    }
    if dice.below(8) == 0 {
        number.extend_from_slice(dice.choose(&[&b"e"[..], b"E", b"e-", b"e+"]));
        digits(&mut number, dice, 4);
    }
    number
}

/// One of the lines, without its terminator.
fn any_line(text: &[u8], dice: &mut Dice) -> Range<usize> {
    let at = dice.below(text.len() + 1);
    let start = memchr::memrchr(b'\n', &text[..at]).map_or(0, |before| before + 1);
    let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |after| at + after);
    start..end
}

/// What stands between JSON's marks around the byte `at` of `line`.
fn value_around(text: &[u8], line: Range<usize>, at: usize) -> Range<usize> {
    let start = text[line.start..at].iter().rposition(|byte| b":,[{ ".contains(byte));
    let end = text[at..line.end].iter().position(|byte| b":,]} ".contains(byte));
    start.map_or(line.start, |before| line.start + before + 1)..end.map_or(line.end, |after| at + after)
}
