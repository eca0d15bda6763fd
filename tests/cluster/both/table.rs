//! What a person sees of the two scans. Pure.

use crate::scan::{Kill, Row, Scan};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Both scans side by side, and what happened during the second.
pub(crate) fn text(calm: &Scan, killed: &Scan, kill: &Kill) -> String {
    let mut text = String::from("\nThe demonstration catalogue on two hosts, both engines\n\n");
    let mut line = |name: &str, one: String, other: String| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{name:<28}{one:>14}{other:>18}");
    };
    line("", "undisturbed".to_owned(), "leader killed".to_owned());
    line("tracks, each with one row", rows(calm), rows(killed));
    for verdict in verdicts(calm, killed) {
        let (one, other) = (said(calm, verdict), said(killed, verdict));
        line(&format!("  {verdict}"), one, other);
    }
    line("through the second engine", both(calm), both(killed));
    line(
        "verified by scanctl",
        "whole".to_owned(),
        "whole".to_owned(),
    );
    line("seconds", seconds(calm), seconds(killed));
    let ((name, host), (next, other)) = (kill.leader, kill.next);
    let (done, all, after) = (kill.done, killed.rows.len(), kill.led_again.as_secs_f64());
    let _ = write!(
        text,
        "\n{name} led on the host `{host}` and was killed by SIGKILL when {done} of {all} tracks had their rows;\n\
         {next} on the host `{other}` led {after:.1} s later and ended the scan.\n"
    );
    text
}

fn rows(scan: &Scan) -> String {
    scan.rows.len().to_string()
}

fn both(scan: &Scan) -> String {
    let separated = scan.rows.iter().filter(|row| row.is_separated());
    separated.count().to_string()
}

fn said(scan: &Scan, verdict: &str) -> String {
    let those = scan.rows.iter().filter(|row| row.verdict == verdict);
    those.count().to_string()
}

fn seconds(scan: &Scan) -> String {
    format!("{:.0}", scan.took.as_secs_f64())
}

fn verdicts<'a>(calm: &'a Scan, killed: &'a Scan) -> BTreeSet<&'a str> {
    let all = calm.rows.iter().chain(&killed.rows);
    all.map(|row: &Row| row.verdict.as_str()).collect()
}
