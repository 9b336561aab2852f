//! How do speeds look side by side?
//!
//! A bar is as long as the speed; the marks at its end are the bounds. Where
//! the bounds are closer than a column, one mark stands for both.

use std::fmt::Write;

use crate::bench::CaseRecord;

/// Columns for the longest bar.
const WIDTH: usize = 60;

/// Draws a bar for each case of a cell, in the order given.
pub(super) fn bars(cases: &[&CaseRecord]) -> String {
    let speed = |case: &CaseRecord| match &case.speed {
        Some(speed) => Some((speed.floor.lower, speed.floor.ratio, speed.floor.upper)),
        None => case.is_reference.then_some((1.0, 1.0, 1.0)),
    };
    let longest = cases
        .iter()
        .filter_map(|case| speed(case))
        .map(|(_, _, upper)| upper)
        .fold(0.0, f64::max);
    let mut out = String::new();
    if cases.len() < 2 || !longest.is_finite() || longest <= 0.0 {
        return out;
    }
    let name_width = cases
        .iter()
        .map(|case| case.case.backend.chars().count())
        .max()
        .unwrap_or(0);
    out.push('\n');
    for case in cases {
        let Some((lower, ratio, upper)) = speed(case) else {
            continue;
        };
        let column = |value: f64| {
            let place = (value / longest * (WIDTH - 1) as f64).round();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let place = place.max(0.0) as usize;
            place.min(WIDTH - 1)
        };
        let _ = writeln!(
            out,
            "  {:<name_width$} {} {ratio:.2}",
            case.case.backend,
            bar(column(lower), column(ratio), column(upper)),
        );
    }
    out
}

/// Draws one bar with its end at `value` and marks at the bounds.
fn bar(lower: usize, value: usize, upper: usize) -> String {
    (0..WIDTH)
        .map(|column| {
            if lower == upper && column == value {
                '┤'
            } else if column == lower && lower != upper {
                '├'
            } else if column == upper && lower != upper {
                '┤'
            } else if column < value {
                '█'
            } else if column < upper {
                '─'
            } else {
                ' '
            }
        })
        .collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_at_the_bounds() {
        let drawn: Vec<char> = bar(10, 15, 20).chars().collect();
        assert_eq!(drawn.len(), WIDTH);
        assert_eq!((drawn[9], drawn[10], drawn[12]), ('█', '├', '█'));
        assert_eq!((drawn[16], drawn[20], drawn[21]), ('─', '┤', ' '));
    }

    #[test]
    fn one_mark_stands_for_close_bounds() {
        let drawn = bar(30, 30, 30);
        assert_eq!(drawn.matches('┤').count(), 1);
        assert_eq!(drawn.matches('├').count(), 0);
        assert_eq!(drawn.matches('█').count(), 30);
    }
}
