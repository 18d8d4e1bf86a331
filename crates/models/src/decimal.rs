//! Decimal numbers, exact.

use crate::misfit::Misfit;

/// The most digits that a decimal column has.
pub(crate) const MOST_DIGITS: u8 = 38;

/// The number `text` as digits of which the last `scale` stand after the point. `text` is a number as JSON writes it; an
/// exponent is allowed. A number with more digits than `precision` and `scale` hold is too large: nothing is rounded.
pub(crate) fn parse(text: &str, precision: u8, scale: u8) -> Result<i128, Misfit> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        None => (rest, 0),
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| Misfit::Type)?),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return Err(Misfit::Type),
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || (whole.len() > 1 && whole.starts_with('0')) {
        return Err(Misfit::Type);
    }
    // The digits without the zeros at both ends, and the power of ten of the last one.
    let digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let cut = digits.len() - significant.len();
    let power = i64::from(exponent) - length(fraction) + i64::try_from(cut).unwrap_or(i64::MAX);
    let zeros = power + i64::from(scale);
    let significant = significant.trim_start_matches('0');
    if zeros < 0 || length(significant).saturating_add(zeros) > i64::from(precision) {
        return Err(Misfit::TooLarge);
    }
    let number = significant.parse::<i128>().ok();
    let zeros = u32::try_from(zeros).ok().and_then(|zeros| 10_i128.checked_pow(zeros));
    let number = number.zip(zeros).and_then(|(number, zeros)| number.checked_mul(zeros)).ok_or(Misfit::TooLarge)?;
    Ok(if negative { -number } else { number })
}

fn length(digits: &str) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX)
}

/// `digits` as text, the last `scale` of them after the point.
pub(crate) fn write(digits: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let sign = if digits < 0 { "-" } else { "" };
    let all = format!("{:0>width$}", digits.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = all.split_at(all.len() - scale);
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_digit_by_digit_or_not_at_all() {
        for (text, digits) in [
            ("0", 0),
            ("-0.00", 0),
            ("12.3", 1230),
            ("12.300", 1230),
            ("-0.01", -1),
            ("1e1", 1000),
            ("1.25E-1", -1),
            ("125e-2", 125),
            ("999.99", 99_999),
        ] {
            let read = parse(text, 5, 2);
            if digits == -1 && text.starts_with('1') {
                assert_eq!(read, Err(Misfit::TooLarge), "{text}");
            } else {
                assert_eq!(read, Ok(digits), "{text}");
            }
        }
        for (text, misfit) in [
            ("1000", Misfit::TooLarge),
            ("0.001", Misfit::TooLarge),
            ("1e999999999", Misfit::TooLarge),
            ("01", Misfit::Type),
            ("1.", Misfit::Type),
            (".5", Misfit::Type),
            ("+1", Misfit::Type),
            ("", Misfit::Type),
            ("1e", Misfit::Type),
            ("NaN", Misfit::Type),
        ] {
            assert_eq!(parse(text, 5, 2), Err(misfit), "{text}");
        }
        assert_eq!(parse(&"9".repeat(38), 38, 0), Ok(10_i128.pow(38) - 1));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (digits, scale, text) in
            [(0, 2, "0.00"), (-1, 2, "-0.01"), (12_345, 2, "123.45"), (7, 0, "7"), (-5, 38, "")]
        {
            let written = write(digits, scale);
            assert!(text.is_empty() || written == text, "{written}");
            assert_eq!(parse(&written, 38, scale), Ok(digits), "{written}");
        }
    }
}
