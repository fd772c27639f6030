//! How names and numbers are shown to people.

use std::fmt::Write;

/// A name as it may be written to a terminal: what is not UTF-8, and control characters, are escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// A size with three digits that count: `512 B`, `1.50 KiB`, `27.3 MiB`, `981 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `number` and the noun that goes with it.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A bar for `part` of `whole`, in eighths of a column, padded to `width` columns.
pub(crate) fn bar(part: u64, whole: u64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let share = if whole == 0 { 0.0 } else { (part as f64 / whole as f64).clamp(0.0, 1.0) };
    let eighths = (share * (width * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    let used = eighths.div_ceil(8);
    bar.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    bar
}

/// The end of `text`, in at most `width` characters.
pub(crate) fn tail(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    std::iter::once('…').chain(text.chars().skip(length - kept)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_write_to_the_terminal_what_it_likes() {
        assert_eq!(printable(b"plain"), "plain");
        assert_eq!(printable("gr\u{fc}n".as_bytes()), "gr\u{fc}n");
        assert_eq!(printable(b"a\xffb\n\x1b[2J"), "a\\xffb\\n\\u{1b}[2J");
    }

    #[test]
    fn sizes_keep_three_digits() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_024), "1.00 KiB");
        assert_eq!(size(1_536), "1.50 KiB");
        assert_eq!(size(28_625_469), "27.3 MiB");
        assert_eq!(size(1_023 * 1_024), "1.00 MiB");
        assert_eq!(size(999 * 1_024), "999 KiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(2, "file", "files"), "2 files");
    }

    #[test]
    fn a_bar_is_as_wide_as_asked_whatever_it_shows() {
        for (part, whole) in [(0, 0), (0, 8), (1, 8), (5, 8), (8, 8), (9, 8), (1, u64::MAX)] {
            assert_eq!(bar(part, whole, 10).chars().count(), 10, "{part} of {whole}");
        }
        assert_eq!(bar(1, 2, 4), "██  ");
        assert_eq!(bar(5, 16, 4), "█▎  ");
    }

    #[test]
    fn a_long_text_keeps_its_end() {
        assert_eq!(tail("short", 5), "short");
        assert_eq!(tail("/usr/share/doc", 5), "…/doc");
    }
}
