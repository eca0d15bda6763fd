//! Questions over plain HTTP to servers of a suite, etcd's gateway and metrics: one connection each, with deadlines. Knows nothing of what is asked.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long one read or write may take unless told: a server that stands still must not hold its asker up.
const PATIENCE: Duration = Duration::from_millis(500);

/// Bytes of an answer: metrics have some tens of thousand.
const ANSWER_MAX: u64 = 4 * 1024 * 1024;

/// What stands at a path.
///
/// # Errors
/// Where the server does not answer in time, or with another status than 200.
pub fn get(at: SocketAddr, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n\r\n");
    exchange(at, &request, PATIENCE).with_context(|| format!("get {path} from {at}"))
}

/// The answer to a question in JSON.
///
/// # Errors
/// As [`get`], and where the answer is no JSON.
pub fn post(at: SocketAddr, path: &str, question: &Value) -> Result<Value> {
    post_within(at, path, question, PATIENCE)
}

/// The same of a server that may take so long for what it is asked.
///
/// # Errors
/// As [`post`].
pub fn post_within(
    at: SocketAddr,
    path: &str,
    question: &Value,
    patience: Duration,
) -> Result<Value> {
    let body = question.to_string();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: {at}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let what = || format!("post {question} to {path} at {at}");
    let answer = exchange(at, &request, patience).with_context(what)?;
    serde_json::from_str(&answer).with_context(what)
}

fn exchange(at: SocketAddr, request: &str, patience: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("it has no end")?;
    let status = head.split_whitespace().nth(1);
    ensure!(status == Some("200"), "it says {head}: {body}");
    Ok(body.to_owned())
}

/// The sum of a metric over all its series on a page of metrics that have this label; none where there is none.
#[must_use]
pub fn metric(page: &str, name: &str, label: &str) -> Option<f64> {
    let values = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let named = series == name || series.strip_prefix(name)?.starts_with('{');
        (named && series.contains(label)).then(|| value.parse::<f64>().ok())?
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_over_its_labels_and_not_of_another_name() {
        let page = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"2\"} 4\nab 50\nc 1\n";
        assert_eq!(metric(page, "a", ""), Some(7.0));
        assert_eq!(metric(page, "a", "y=\"2\""), Some(3.0));
        assert_eq!(metric(page, "c", ""), Some(1.0));
        assert_eq!(metric(page, "d", ""), None);
    }
}
