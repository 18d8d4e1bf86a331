//! Plain numbers of JSON, read from the front of a text in few steps.
//!
//! Only forms whose meaning is beyond doubt are read: no exponents, no negative zeros, not too many digits. For all others
//! the functions return none, and the general parser decides.

#![expect(clippy::inline_always, reason = "numbers of each line are read by these functions")]

/// Digits as a number, how many there are, and what follows. JSON has no leading zeros.
#[inline(always)]
fn digits(text: &[u8]) -> Option<(u64, usize, &[u8])> {
    // 18 digits always fit.
    const MOST: usize = 18;
    // Not by a closure, which is not always inlined.
    let (mut value, mut count) = match text.first_chunk() {
        Some(eight) => leading_digits(*eight),
        None => (0, 0),
    };
    // Of fewer than eight the end is known.
    if count == 8 || text.len() < 8 {
        while let Some(digit) = text.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            if count == MOST {
                return None;
            }
            value = value * 10 + u64::from(digit);
            count += 1;
        }
    }
    let rest = text.get(count..)?;
    (count > 0).then_some((value, count, rest))
}

/// The digits at the front of eight bytes as a number, and how many they are. All eight are looked at together: where a
/// number ends differs from line to line, and the processor would mispredict a branch on it.
#[inline(always)]
fn leading_digits(text: [u8; 8]) -> (u64, usize) {
    // The first digit is in the lowest byte. Digits become 0 to 9, all other bytes more.
    let word = u64::from_le_bytes(text) ^ ZEROS;
    // The high bit of each byte above 9. It may be wrong in bytes after the first of them, which do not matter.
    let others = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() / 8;
    // Zeros in front for what is missing; none left if there is no digit.
    (eight_digits(word.checked_shl(64 - 8 * count).unwrap_or(0)).cast_unsigned(), count as usize)
}

/// Eight digits as text.
pub(crate) const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The number of eight digits, each in a byte of `word`, the first in the lowest.
#[inline]
pub(crate) fn eight_digits(word: u64) -> i64 {
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    ((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff).cast_signed()
}

/// The integer part of a number, its sign apart.
#[inline(always)]
fn whole(text: &[u8]) -> Option<(bool, u64, usize, &[u8])> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |text| (true, text));
    let (value, count, rest) = digits(text)?;
    let leading_zero = count > 1 && text.first() == Some(&b'0');
    (!leading_zero).then_some((negative, value, count, rest))
}

/// The integer at the beginning of `text`, and what follows it. None for negative zero, which JSON takes for a float.
#[inline]
pub(crate) fn integer(text: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, value, _, rest) = whole(text)?;
    let goes_on = matches!(rest.first(), Some(b'.' | b'e' | b'E'));
    let value = value.cast_signed();
    (!(goes_on || negative && value == 0)).then_some((if negative { -value } else { value }, rest))
}

/// A number as it is written: whole, or not.
#[derive(Clone, Copy)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    /// The nearest float.
    #[expect(clippy::cast_precision_loss, reason = "a DOUBLE column keeps what a double can keep")]
    #[inline]
    pub(crate) fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// Every integer of up to this many digits is exact as a double, and so is this power of ten. One division of two exact
/// doubles rounds once, so the result is the double that is nearest to the decimal number (Clinger 1990).
const EXACT: usize = 15;
const POWERS: [u64; EXACT + 1] = {
    let mut powers = [1; EXACT + 1];
    let mut power = 1;
    while power <= EXACT {
        #[expect(clippy::indexing_slicing, reason = "both indices are below the length")]
        {
            powers[power] = powers[power - 1] * 10;
        }
        power += 1;
    }
    powers
};

/// The number at the beginning of `text`, and what follows it. None for negative zero, which JSON takes for a float.
#[inline(always)]
pub(crate) fn number(text: &[u8]) -> Option<(Number, &[u8])> {
    let (negative, whole, count, rest) = whole(text)?;
    let (number, rest) = match rest.split_first() {
        Some((b'e' | b'E', _)) => return None,
        Some((b'.', fraction)) => {
            let (part, places, rest) = digits(fraction)?;
            if count + places > EXACT || matches!(rest.first(), Some(b'e' | b'E')) {
                return None;
            }
            let power = *POWERS.get(places)?;
            let digits = whole * power + part;
            if negative && digits == 0 {
                return None;
            }
            #[expect(clippy::cast_precision_loss, reason = "both have at most 15 digits")]
            let value = digits as f64 / power as f64;
            (Number::Float(if negative { -value } else { value }), rest)
        }
        _ if negative && whole == 0 => return None,
        _ => {
            let value = whole.cast_signed();
            (Number::Int(if negative { -value } else { value }), rest)
        }
    };
    Some((number, rest))
}
