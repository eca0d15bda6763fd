//! Logs and metrics. Logs go to stderr through `tracing`; metrics are kept by `metrics` and read over HTTP by
//! Prometheus. Called once per process, before anything else may speak.

use std::net::SocketAddr;
use std::str::FromStr;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder};
use tracing_subscriber::EnvFilter;

/// Buckets of durations in seconds: from a synced write on a good disk to a request that has timed out.
const DURATION_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0,
];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum MetricsAddress {
    /// Nowhere.
    Off,
    /// `http://ADDRESS/metrics`.
    At(SocketAddr),
}

/// The text is neither an address nor `off`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address such as 127.0.0.1:7701 nor `off`")]
pub struct MetricsAddressError(String);

impl FromStr for MetricsAddress {
    type Err = MetricsAddressError;
    fn from_str(text: &str) -> Result<Self, MetricsAddressError> {
        match text {
            "off" => Ok(Self::Off),
            address => address
                .parse()
                .map(Self::At)
                .map_err(|_| MetricsAddressError(text.chars().take(64).collect())),
        }
    }
}

impl TryFrom<String> for MetricsAddress {
    type Error = MetricsAddressError;
    fn try_from(text: String) -> Result<Self, MetricsAddressError> {
        text.parse()
    }
}

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no list of directives.
    #[error("log filter `{filter}`: {cause}")]
    Filter {
        /// As configured.
        filter: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Logs are set up already.
    #[error("logs are set up already")]
    LogsTwice,
    /// The address cannot be listened on.
    #[error("serve metrics at {address}")]
    Address {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Metrics are set up already.
    #[error("serve metrics at {address}")]
    Metrics {
        /// As configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: BuildError,
    },
}

/// Sends logs to stderr. `filter` is a list of directives such as `info,scheduler=debug`.
///
/// # Errors
/// When the filter does not parse, or logs are set up already.
pub fn logs(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let directives = EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter {
        filter: filter.to_owned(),
        cause: error.to_string(),
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(directives)
        // Who reads stderr may be gone; a line that cannot be written must not end the process.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| TelemetryError::LogsTwice)
}

/// Serves metrics, from within the runtime that is to serve them; counts nothing where they are off.
///
/// # Errors
/// When the address is taken or metrics are set up already.
pub fn metrics(address: MetricsAddress, version: &'static str) -> Result<(), TelemetryError> {
    let MetricsAddress::At(address) = address else {
        return Ok(());
    };
    // The exporter's own error no longer tells what kind it was.
    std::net::TcpListener::bind(address)
        .map_err(|source| TelemetryError::Address { address, source })?;
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets(&DURATION_BUCKETS)
        .and_then(PrometheusBuilder::install)
        .map_err(|source| TelemetryError::Metrics { address, source })?;
    metrics::gauge!("scan_build_info", "version" => version).set(1.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_served_at_an_address_or_not_at_all() {
        assert_eq!("off".parse(), Ok(MetricsAddress::Off));
        assert_eq!(
            "127.0.0.1:7701".parse(),
            Ok(MetricsAddress::At(([127, 0, 0, 1], 7701).into()))
        );
        for bad in ["", "7701", "localhost", "on"] {
            assert!(bad.parse::<MetricsAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filter_that_does_not_parse_is_refused_and_named() {
        let error = logs(LogFormat::Text, "info,=,=").unwrap_err();
        assert!(
            error.to_string().starts_with("log filter `info,=,=`"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_taken_address_is_refused() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let error = metrics(MetricsAddress::At(address), "0").unwrap_err();
        let TelemetryError::Address { source, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn an_address_that_is_not_this_machine_s_is_refused_as_such() {
        // From the block for documentation: nobody has it.
        let address = MetricsAddress::At(([192, 0, 2, 1], 7701).into());
        let TelemetryError::Address { source, .. } = metrics(address, "0").unwrap_err() else {
            panic!("the address is the matter");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::AddrNotAvailable);
    }
}
