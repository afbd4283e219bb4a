//! Numbers as people read them.

/// A number with seven digits, which distinguish a cosine from 1; four if very small or large.
pub(crate) fn shown(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        format!("{value}")
    } else if (1e-3..1e6).contains(&size) {
        format!("{value:.after$}", after = digits_after(value, 7))
    } else {
        format!("{value:.3e}")
    }
}

/// A number with four digits, or all of those before the point.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "not finite".to_owned()
    } else if value.fract() == 0.0 && size < 1e5 {
        format!("{value}")
    } else if size >= 1e5 {
        thousands(value)
    } else if (size - 1.0).abs() < 1e-3 {
        // Such as a cosine.
        format!("{value:.6}")
    } else if size >= 1e-3 {
        format!("{value:.after$}", after = digits_after(value, 4))
    } else {
        format!("{value:.2e}")
    }
}

/// Digits after the point of a number with this many in all.
fn digits_after(value: f64, digits: i32) -> usize {
    usize::try_from(digits - 1 - value.abs().log10().floor() as i32).unwrap_or(0)
}

/// A whole number, with spaces between thousands.
pub(super) fn thousands(value: f64) -> String {
    let plain = format!("{value:.0}");
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    sign.to_owned() + &groups.join("\u{202f}")
}

/// A share in percent.
pub(crate) fn percent(share: f64) -> String {
    // 100 only if it is exactly 1.
    if share < 1.0 { format!("{:.2} %", (1e4 * share).floor() / 100.0) } else { "100 %".to_owned() }
}

/// A time in the two largest of its units.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0);
    let (hours, minutes) = ((whole / 3600.0).floor(), (whole % 3600.0 / 60.0).floor());
    match (hours > 0.0, minutes > 0.0) {
        (true, _) => format!("{hours} h {minutes} min"),
        (_, true) => format!("{minutes} min {} s", whole % 60.0),
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        _ => format!("{whole} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_seven_digits() {
        for (value, expected) in [
            (0.999_999_7, "0.9999997"),
            (-1_918.129_145_9, "-1918.129"),
            (3.0, "3"),
            (0.001_234_567_89, "0.001234568"),
            (1.5e-5, "1.500e-5"),
        ] {
            assert_eq!(shown(value), expected);
        }
    }

    #[test]
    fn numbers_for_people_are_short() {
        for (value, expected) in [
            (23.4412, "23.44"),
            (-1_918.129, "-1918"),
            (0.987_654, "0.9877"),
            (16.0, "16"),
            (0.999_996_4, "0.999996"),
            (3.2e-5, "3.20e-5"),
            (1_234_567.8, "1\u{202f}234\u{202f}568"),
            (f64::NAN, "not finite"),
        ] {
            assert_eq!(number(value), expected);
        }
        for (seconds, expected) in
            [(3.21, "3.2 s"), (59.0, "59 s"), (372.2, "6 min 12 s"), (7_260.0, "2 h 1 min")]
        {
            assert_eq!(duration(seconds), expected);
        }
        assert_eq!([percent(1.0), percent(0.999_99)], ["100 %", "99.99 %"]);
    }
}
