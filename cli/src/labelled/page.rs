//! One HTML page that holds everything it shows: text, tables, reliability plots. No script, no font, no address: it opens
//! from a disk that nothing else stands on.

use crate::output::Records;
use evaluation::reliability::Reliability;
use std::fmt::Write;

/// What a page shows.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) title: String,
    /// Paragraphs before the tables.
    pub(crate) lead: Vec<String>,
    /// Tables with their captions.
    pub(crate) tables: Vec<(String, Records)>,
    /// Reliability by system.
    pub(crate) plots: Vec<(String, Reliability)>,
    /// What must be known beside it.
    pub(crate) notes: Vec<String>,
}

/// Side of a plot in pixels, and the room for its words.
const SIDE: f64 = 260.0;
const MARGIN: f64 = 54.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#1c2530;background:#fff;margin:2rem auto;max-width:78rem;padding:0 1rem}\
h1{font-size:1.5rem;margin:0 0 1rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}\
.table{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.87rem}\
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #dde3ea;white-space:nowrap}\
th{color:#55606d;font-weight:600}figure{display:inline-block;width:368px;margin:0 1rem 1rem 0;vertical-align:top}figcaption{font-size:.85rem;color:#55606d}\
li{margin:.2rem 0}@media(prefers-color-scheme:dark){body{background:#12171d;color:#dfe5ec}th,figcaption{color:#9aa6b3}\
th,td{border-color:#2c343e}svg text{fill:#9aa6b3}svg .axis{stroke:#55606d}}";

/// The page as a document.
pub(crate) fn page(page: &Page) -> String {
    let mut out = String::new();
    let title = escaped(&page.title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    );
    for text in &page.lead {
        let _ = writeln!(out, "<p>{}</p>", escaped(text));
    }
    if !page.plots.is_empty() {
        out.push_str("<h2>Reliability</h2>\n");
        for (name, reliability) in &page.plots {
            plot(&mut out, name, reliability);
        }
    }
    for (caption, records) in &page.tables {
        table(&mut out, caption, records);
    }
    if !page.notes.is_empty() {
        out.push_str("<h2>To know</h2>\n<ul>\n");
        for note in &page.notes {
            let _ = writeln!(out, "<li>{}</li>", escaped(note));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</body></html>\n");
    out
}

fn table(out: &mut String, caption: &str, records: &Records) {
    let _ = write!(
        out,
        "<h2>{}</h2>\n<div class=\"table\"><table>\n<tr>",
        escaped(caption)
    );
    for title in &records.header {
        let _ = write!(out, "<th>{}</th>", escaped(title));
    }
    out.push_str("</tr>\n");
    for row in &records.rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escaped(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

/// Share of positives over probability, a dot for each bin as large as its weight, beside the line on which both are equal.
fn plot(out: &mut String, name: &str, reliability: &Reliability) {
    let full = SIDE + 2.0 * MARGIN;
    let x = |p: f64| MARGIN + SIDE * p;
    let y = |share: f64| MARGIN + SIDE * (1.0 - share);
    let _ = write!(
        out,
        "<figure><svg width=\"{full}\" height=\"{full}\" viewBox=\"0 0 {full} {full}\" role=\"img\" aria-label=\"Reliability of {}\" \
         font-size=\"11\">",
        escaped(name)
    );
    let _ = write!(
        out,
        "<rect class=\"axis\" x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#9aa6b3\"/>\
         <line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#9aa6b3\" stroke-dasharray=\"4 4\"/>",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0)
    );
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            x(tick),
            y(0.0) + 15.0,
            x(0.0) - 6.0,
            y(tick) + 4.0
        );
    }
    let bins: Vec<_> = reliability
        .bins
        .iter()
        .filter(|bin| bin.tracks > 0)
        .collect();
    let points: Vec<String> = bins
        .iter()
        .map(|bin| format!("{:.1},{:.1}", x(bin.probability), y(bin.share)))
        .collect();
    let _ = write!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#2563a8\" stroke-width=\"1.5\"/>",
        points.join(" ")
    );
    for bin in bins {
        let _ = write!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{:.1}\" fill=\"#2563a8\" fill-opacity=\"0.55\"><title>{} tracks from {:.1} to {:.1}: \
             mean probability {:.3}, share of ai {:.3}, at prior {}</title></circle>",
            x(bin.probability),
            y(bin.share),
            3.0 + 14.0 * bin.weight.sqrt(),
            bin.tracks,
            bin.low,
            bin.high,
            bin.probability,
            bin.share,
            reliability.prior
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">probability at prior {}</text>\
         <text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1})\">share of ai at the same prior</text></svg>\
         <figcaption>{}: expected calibration error {:.3}, Brier score {:.3}</figcaption></figure>",
        x(0.5),
        full - 8.0,
        reliability.prior,
        y(0.5),
        y(0.5),
        escaped(name),
        reliability.ece,
        reliability.brier
    );
}

/// Text as HTML shows it, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters and marks that turn the direction of text would show something else than what stands there.
            c if c.is_control()
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c) =>
            {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use evaluation::reliability::reliability;

    #[test]
    fn a_page_holds_all_that_it_shows_and_runs_nothing_that_a_text_says() {
        let hostile = "<script>alert(1)</script>\" onload='x'\u{202e}";
        let records = Records {
            header: vec!["GENRE"],
            rows: vec![vec![hostile.to_owned()]],
        };
        let shown = page(&Page {
            title: hostile.to_owned(),
            lead: vec![hostile.to_owned()],
            tables: vec![(hostile.to_owned(), records)],
            plots: vec![(
                hostile.to_owned(),
                reliability(&[0.9; 5], &[0.1; 5], 0.5).unwrap(),
            )],
            notes: vec![hostile.to_owned()],
        });
        assert!(!shown.contains("<script") && !shown.contains('\u{202e}'));
        assert!(
            !shown.contains("http://") && !shown.contains("https://") && !shown.contains("src=\"")
        );
        assert_eq!(shown.matches("<circle").count(), 2);
        assert_eq!(shown.matches("&lt;script&gt;").count(), 8);
    }
}
