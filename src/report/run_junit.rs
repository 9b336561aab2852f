//! How do verdicts look to a CI server's test page?
//!
//! JUnit XML: a suite for each run, a case for each verdict. What is bad is a
//! failure, what is doubtful a skipped case with its reason, since it neither
//! passed nor failed.

use std::fmt::{self, Write};

use super::summary::{Standing, Summary};

/// Renders verdicts as JUnit XML.
#[must_use]
pub fn run_junit(summaries: &[Summary]) -> String {
    let mut out = String::new();
    write_all(&mut out, summaries).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, summaries: &[Summary]) -> fmt::Result {
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites name=\"mintmark\">")?;
    for summary in summaries {
        suite(out, summary)?;
    }
    writeln!(out, "</testsuites>")
}

fn suite(out: &mut String, summary: &Summary) -> fmt::Result {
    let count = |standing: Standing| {
        summary
            .verdicts
            .iter()
            .filter(|verdict| verdict.standing == standing)
            .count()
    };
    writeln!(
        out,
        "  <testsuite name=\"{}\" timestamp=\"{}\" time=\"{:.3}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\">",
        escaped(&summary.run),
        escaped(
            summary
                .started_at
                .split('.')
                .next()
                .unwrap_or_default()
                .trim_end_matches('Z')
        ),
        summary.elapsed_ns as f64 / 1e9,
        summary.verdicts.len(),
        count(Standing::Bad),
        count(Standing::Doubtful),
    )?;
    writeln!(out, "    <properties>")?;
    for fact in summary.conditions.iter().chain(&summary.host) {
        writeln!(
            out,
            "      <property name=\"{}\" value=\"{}\"/>",
            escaped(&fact.name),
            escaped(&fact.value)
        )?;
    }
    writeln!(out, "    </properties>")?;
    for verdict in &summary.verdicts {
        let message = escaped(&format!("{}: {}", verdict.word, verdict.sentence));
        let inside = match verdict.standing {
            Standing::Good => format!("<system-out>{message}</system-out>"),
            Standing::Doubtful => format!("<skipped message=\"{message}\"/>"),
            Standing::Bad => format!(
                "<failure type=\"{}\" message=\"{message}\">{message}</failure>",
                escaped(&verdict.word)
            ),
        };
        writeln!(
            out,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"0\">{inside}</testcase>",
            escaped(&summary.scenario),
            escaped(&verdict.subject)
        )?;
    }
    if !summary.warnings.is_empty() {
        writeln!(out, "    <system-err>")?;
        for warning in &summary.warnings {
            writeln!(
                out,
                "{}",
                escaped(&format!(
                    "{}: {} ({})",
                    warning.code, warning.message, warning.hint
                ))
            )?;
        }
        writeln!(out, "    </system-err>")?;
    }
    writeln!(out, "  </testsuite>")
}

/// Keeps a text from becoming markup; what XML 1.0 cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    #[test]
    fn each_standing_has_its_own_element() {
        let summary = Summary::of(&sample::document());
        let text = run_junit(std::slice::from_ref(&summary));
        let cases = summary.verdicts.len();
        assert!(text.contains(&format!(
            "tests=\"{cases}\" failures=\"1\" errors=\"0\" skipped=\"2\""
        )));
        assert_eq!(text.matches("<failure ").count(), 1);
        assert_eq!(text.matches("<skipped ").count(), 2);
        assert_eq!(text.matches("<testcase ").count(), cases);
    }

    #[test]
    fn a_name_cannot_become_markup() {
        assert_eq!(escaped("</a>\u{1}\"&'"), "&lt;/a&gt;&quot;&amp;&apos;");
    }
}
