//! The report of a finished scan as its reader sees it: written whole or not at all, opened in a browser that reaches nothing,
//! sorted there, and unmoved by tracks whose names are markup.

use crate::world::{demonstration, json, run, text, waiting_job, world};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tests::browser;
use tests::cluster::scanctl;
use tests::music;

/// Names that would take a page over if they were believed.
const HOSTILE: [&str; 4] = [
    "<script>document.title='taken'</script>",
    "\"><img src=http://192.0.2.1/x onerror=\"document.title='taken'\">",
    "</td></table><h1>taken</h1>",
    "' onmouseover='document.title=1' x='",
];

struct Written {
    _folder: tempfile::TempDir,
    file: PathBuf,
    job: String,
}

/// A report over tracks with hostile ids, and a broken one.
fn hostile() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let tracks = folder.path().join("tracks");
        music::folder(&tracks, HOSTILE.len(), 4.0);
        fs::write(tracks.join("broken.mp3"), b"").unwrap();
        let ids = HOSTILE.iter().chain(&["broken"]);
        let mut keys = fs::read_dir(&tracks)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>();
        keys.sort();
        let lines = ids
            .zip(&keys)
            .map(|(id, key)| format!("\"{}\",{key}\n", id.replace('"', "\"\"")));
        let list = tracks.join("list.csv");
        let lines: String = std::iter::once("track_id,key\n".to_owned())
            .chain(lines)
            .collect();
        fs::write(&list, lines).unwrap();
        let imported = json(&["catalog", "import", "hostile", text(&list)]);
        assert_eq!(imported["snapshot"]["rows"], 5, "{imported:#}");
        let submit = [
            "scan",
            "submit",
            "--catalog",
            "hostile",
            "--accept-demonstration",
        ];
        let submitted = json(&[&submit[..], &["--wait", "--timeout", "5m"]].concat());
        let job = submitted["job"].as_str().unwrap().to_owned();
        let file = folder.path().join("report.html");
        let (code, printed, said) = run(&["result", "report", &job, "--out", text(&file)]);
        assert_eq!((code, printed.as_str()), (Some(0), ""), "{said}");
        Written {
            _folder: folder,
            file,
            job,
        }
    })
}

/// The bodies of the table's lines, in the order of the document.
fn lines(dom: &str) -> Vec<&str> {
    let (_, table) = dom.split_once("id=\"tracks\"").expect("the table");
    let (_, body) = table.split_once("<tbody>").expect("its body");
    let (body, _) = body.split_once("</tbody>").expect("its end");
    body.split("<tr>").skip(1).collect()
}

/// The number in the first column of each line: its place by evidence.
fn places(dom: &str) -> Vec<usize> {
    let place = |line: &&str| {
        let (_, value) = line.split_once("data-v=\"").expect("a place");
        value.split('"').next().unwrap().parse().unwrap()
    };
    lines(dom).iter().map(place).collect()
}

/// What the other tests here rest on.
#[test]
fn a_page_that_asks_for_something_or_fails_is_seen_to() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let text = "<!DOCTYPE html><img src=\"http://192.0.2.1/x\"><script>nothing.at.all()</script>";
    fs::write(&page, text).unwrap();
    let opened = browser::open(&page, "");
    assert_eq!(opened.asked, ["192.0.2.1"]);
    assert!(
        opened.console.len() == 1 && opened.console[0].contains("nothing is not defined"),
        "{:?}",
        opened.console
    );
}

#[test]
fn a_report_opens_in_a_browser_without_an_error_and_reaches_for_nothing() {
    let opened = browser::open(&hostile().file, "");
    assert_eq!(opened.console, Vec::<String>::new());
    assert_eq!(opened.asked, Vec::<String>::new());
    assert_eq!(places(&opened.dom), [1, 2, 3, 4, 5]);
    assert_eq!(opened.dom.matches("<article class=\"card\"").count(), 5);
    assert_eq!(
        opened.dom.matches("<image class=\"mel\"").count(),
        opened.dom.matches("mel-spectrogram, white").count()
    );
    assert!(
        opened
            .dom
            .contains("Demonstration bundle — nothing here is a finding")
    );
    assert!(
        opened
            .dom
            .contains("<button type=\"button\">score</button>"),
        "its script has run"
    );
}

#[test]
fn a_track_whose_name_is_markup_is_a_text_like_any_other() {
    let opened = browser::open(&hostile().file, "");
    let title = format!("<title>Scan report {}</title>", hostile().job);
    assert!(opened.dom.contains(&title));
    assert!(!opened.dom.contains("<img") && !opened.dom.contains("<h1>taken"));
    assert_eq!(opened.dom.matches("<script>").count(), 1);
    for id in HOSTILE {
        let shown = id
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        // In its line and on its card.
        assert_eq!(opened.dom.matches(&shown).count(), 2, "{id}");
    }
}

#[test]
fn the_table_is_sorted_as_the_address_says_and_what_has_no_value_comes_last() {
    let sorted = |fragment: &str| places(&browser::open(&hostile().file, fragment).dom);
    assert_eq!(sorted("#sort=-place"), [5, 4, 3, 2, 1]);
    let by_score = sorted("#sort=score");
    assert_eq!(
        (by_score.len(), by_score[4]),
        (5, 5),
        "the broken one has no score: {by_score:?}"
    );
    assert_eq!(sorted("#sort=-score")[4], 5);
    let dom = browser::open(&hostile().file, "#sort=track").dom;
    let last = lines(&dom);
    assert!(
        last[4].contains("broken"),
        "letters come after marks: {}",
        last[4]
    );
    assert!(dom.contains("data-name=\"track\" data-kind=\"text\" aria-sort=\"ascending\""));
    assert_eq!(sorted("#sort=nothing"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_picture_of_it_can_be_taken() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("report.png");
    browser::picture(&hostile().file, "", 1_400, &picture);
    let png = fs::read(&picture).unwrap();
    assert!(
        png.starts_with(b"\x89PNG") && png.len() > 20_000,
        "{} bytes",
        png.len()
    );
}

#[test]
fn the_same_result_gives_the_same_bytes_to_a_file_and_to_a_pipe() {
    let report = |more: &[&str]| {
        let line = [&["result", "report", demonstration()], more].concat();
        scanctl(&world().address, &line).stdout
    };
    let printed = report(&["--out", "/dev/stdout"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    fs::write(&file, "of last week").unwrap();
    assert!(report(&["--out", text(&file)]).is_empty());
    assert!(fs::read(&file).unwrap() == printed);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let few = String::from_utf8(report(&["--out", "/dev/stdout", "--cards", "2"])).unwrap();
    assert_eq!(few.matches("<article").count(), 2);
    assert_eq!(lines(&few).len(), 30);
    assert!(few.contains("2 cards of 30 tracks"));
}

#[test]
fn a_report_says_of_each_verdict_how_many_and_how_many_flags_may_be_wrong() {
    let rows = json(&["result", "get", demonstration()]);
    let rows = rows["rows"].as_array().unwrap();
    let report = [
        "result",
        "report",
        demonstration(),
        "--out",
        "/dev/stdout",
        "--cards",
        "0",
    ];
    let page = String::from_utf8(scanctl(&world().address, &report).stdout).unwrap();
    for verdict in ["likely_ai", "no_evidence", "inconclusive", "unscannable"] {
        let tracks = rows.iter().filter(|row| row["verdict"] == verdict).count();
        let line = format!(
            "<span class=\"verdict {verdict}\">{verdict}</span></th><td class=\"number\">{tracks}</td>"
        );
        assert!(page.contains(&line), "{line}");
    }
    let bundle = json(&["bundle", "get", "demo"]);
    let tiers = bundle["manifest"]["verdicts"]["tiers"].as_array().unwrap();
    let likely = tiers
        .iter()
        .find(|tier| tier["name"] == bundle["manifest"]["verdicts"]["likely_ai_tier"])
        .unwrap();
    let scored = rows.iter().filter(|row| !row["screen"].is_null()).count();
    let allowed = (likely["fpr_bound_95"].as_f64().unwrap() * scored as f64).ceil();
    let said =
        format!("of the {scored} tracks with a score were human-made, up to {allowed} of them");
    assert!(page.contains(&said), "{said}");
}

#[test]
fn what_cannot_be_reported_leaves_the_file_that_stands_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    fs::write(&file, "of last week").unwrap();
    let refused = |job: &str, more: &[&str], to: &Path| {
        let (code, _, said) = run(&[&["result", "report", job, "--out", text(to)], more].concat());
        assert!(said.starts_with("error "), "{said}");
        code
    };
    assert_eq!(refused("no-such-job", &[], &file), Some(5));
    assert_eq!(refused(&waiting_job(), &[], &file), Some(6));
    assert_eq!(
        refused(demonstration(), &["--cards", "2001"], &file),
        Some(2)
    );
    assert_eq!(
        refused(demonstration(), &[], &folder.path().join("no/report.html")),
        Some(2)
    );
    assert_eq!(fs::read(&file).unwrap(), b"of last week");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
