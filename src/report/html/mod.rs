//! How do results look to people who want to see them?
//!
//! One file, which loads nothing from elsewhere and prints well: verdicts and
//! conditions first, then figures, each of them in a table and the important
//! ones in a chart too. The page is escaped by its template, and the data of
//! the charts so that no name can end the element that holds them.

mod charts;
mod view;

use askama::Template;

use self::view::ResultView;
use super::summary::{AGENT_HEADINGS, SideBySide, Summary, side_by_side};
use crate::record::RunDocument;

/// uPlot 1.6.32 by Leon Sorokin, MIT; its licence is in `uplot.LICENSE`.
const UPLOT_JS: &str = include_str!("assets/uplot.js");
const UPLOT_CSS: &str = include_str!("assets/uplot.css");
const UPLOT_LICENCE: &str = include_str!("assets/uplot.LICENSE");

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    title: String,
    subtitle: Vec<String>,
    results: Vec<ResultView>,
    beside: SideBySide,
    has_beside_plot: bool,
    data: String,
    uplot_css: &'static str,
    uplot_js: String,
    css: &'static str,
    js: &'static str,
    version: &'static str,
    agent_headings: [&'static str; AGENT_HEADINGS.len()],
}

/// Renders results as a page of HTML.
#[must_use]
pub fn run_html(documents: &[RunDocument]) -> String {
    let summaries: Vec<Summary> = documents.iter().map(Summary::of).collect();
    let charts = charts::charts(documents);
    let results: Vec<ResultView> = documents
        .iter()
        .zip(&summaries)
        .enumerate()
        .map(|(at, (document, summary))| ResultView::of(at, document, summary))
        .collect();
    let (title, subtitle) = match summaries.as_slice() {
        [one] => (
            one.scenario.clone(),
            vec![
                one.description.clone(),
                format!("{}, {}", one.run, one.started_at),
            ],
        ),
        several => (
            format!("{} results side by side", several.len()),
            Vec::new(),
        ),
    };
    let page = Page {
        title,
        subtitle,
        results,
        beside: side_by_side(documents, &summaries),
        has_beside_plot: charts.get("beside").is_some(),
        data: in_script(&charts),
        uplot_css: UPLOT_CSS,
        uplot_js: format!("/*\n{UPLOT_LICENCE}*/\n{UPLOT_JS}"),
        css: include_str!("assets/report.css"),
        js: include_str!("assets/report.js"),
        version: env!("CARGO_PKG_VERSION"),
        agent_headings: AGENT_HEADINGS,
    };
    page.render()
        .expect("the template writes to a string, which does not fail")
}

/// Writes JSON so that it can stand in a script element: nothing in it ends
/// the element or begins a comment (HTML, section 4.12.1.3).
fn in_script(value: &serde_json::Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    const EVIL: &str = "</script><script>alert('x')</script><b a=\"1\">&amp;";

    /// Puts a hostile text wherever a document takes one from outside.
    fn evil() -> RunDocument {
        let mut document = sample::document();
        document.run = EVIL.into();
        document.scenario["name"] = EVIL.into();
        document.scenario["description"] = EVIL.into();
        document.scenario["target"] = serde_json::json!({ "url": { "url": EVIL } });
        document.partial = Some(EVIL.into());
        document.host.cpu_model = EVIL.into();
        document.signed_by = EVIL.into();
        document.key.container = EVIL.into();
        document.warnings[0].message = EVIL.into();
        for step in &mut document.steps {
            step.name = EVIL.into();
            step.outcomes.insert(EVIL.into(), 1);
        }
        let mut signing = crate::bench::sample::sample();
        signing.cases[0].case.backend = EVIL.into();
        document.signing = Some(signing);
        document
    }

    #[test]
    fn no_text_from_outside_becomes_markup() {
        for documents in [vec![evil()], vec![evil(), evil()]] {
            let page = run_html(&documents);
            assert!(!page.contains("<script>alert"), "a script got in");
            assert!(!page.contains("<b a="), "an element got in");
            // The data, the library with the page's own script.
            assert_eq!(page.matches("<script").count(), 2);
            assert_eq!(page.matches("</script").count(), 2);
        }
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let page = run_html(&[sample::document()]);
        for needle in ["src=\"", "@import", "url(", "<link", "fetch("] {
            assert!(!page.contains(needle), "{needle}");
        }
        assert!(page.contains("default-src 'none'"));
        assert!(page.contains("The MIT License (MIT)"));
        assert!(page.len() < 200_000, "{} bytes", page.len());
    }

    #[test]
    fn every_chart_of_the_page_has_data_and_the_other_way_round() {
        let documents = [sample::document(), sample::document()];
        let page = run_html(&documents);
        let charts = charts::charts(&documents);
        let names: Vec<_> = charts.as_object().unwrap().keys().collect();
        assert!(names.len() > 10, "{names:?}");
        for name in &names {
            assert!(page.contains(&format!("data-plot=\"{name}\"")), "{name}");
        }
        assert_eq!(page.matches("data-plot=\"").count(), names.len());
    }

    #[test]
    fn verdicts_come_before_figures() {
        let page = run_html(&[sample::document()]);
        let place = |needle: &str| page.find(needle).unwrap();
        assert!(place("missed") < place("Conditions"));
        assert!(place("Conditions</h3>") < place("Time by percentile"));
        assert!(place("Time by percentile") < place("Machine</h3>"));
    }
}
