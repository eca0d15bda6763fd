//! How an etcd cluster is reached: endpoints, prefix, certificates, and every deadline with its reason.
//!
//! Filled in by the coordinator from its configuration. Nothing here is secret: files are named, never their contents. There is no user and
//! password: their token runs out in the middle of a reign, and a client that renews it sends the refused call once more by itself, which
//! no transaction here may be. A certificate's name is identity enough for a server that asks who it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use super::EtcdError;

/// How long a leadership lives without renewal, unless configured. An etcd lease has whole seconds.
pub const LEADERSHIP_DEFAULT: Duration = Duration::from_secs(5);

/// Shortest leadership: a server raises what is less than one and a half of its election times (1 s), silently.
const LEADERSHIP_MIN: Duration = Duration::from_secs(2);

/// Longest leadership: beyond it a dead leader is missed for longer than anybody waits.
const LEADERSHIP_MAX: Duration = Duration::from_secs(60);

/// Most endpoints: an etcd cluster has seven members at most, and a few names for each.
const ENDPOINTS_MAX: usize = 16;

/// Most bytes in a prefix: with it a key's overhead is within what [`crate::Txn::recorded_size`] counts.
const PREFIX_BYTES_MAX: usize = 64;

/// For a connection with its handshake: a member that is there takes milliseconds, and another one is tried after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// For one transaction. A server gives up after 7 s by itself; a cluster that elects a leader has one within 3 s, and a caller learns more
/// from an unknown outcome than from waiting on.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// For one attempt of a read, which may then be tried on the next member.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(2);

/// Attempts of one read: each member of the usual three once. Reads change nothing, so that they may be repeated.
pub(super) const READ_ATTEMPTS_MAX: usize = 3;

/// Between pings of a connection with a call under way. A server closes connections that ping more often than every 5 s, or while
/// nothing is under way.
const PING_EVERY: Duration = Duration::from_secs(10);

/// For the answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How an etcd cluster is reached and what it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSettings {
    /// The members' client addresses: `https://host:2379`, or `http://` without [`EtcdSettings::tls`].
    pub endpoints: Vec<String>,
    /// What every key of this store begins with. Two clusters of ours on one etcd have two prefixes. Without slashes, so that no
    /// store stands inside another.
    pub prefix: String,
    /// Certificates; none only where nobody else can reach the network between.
    pub tls: Option<EtcdTls>,
    /// How long a leadership lives without renewal, in whole seconds.
    pub leadership: Duration,
}

/// Whom to believe, and who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdTls {
    /// The authority that signed the members' certificates, PEM.
    pub ca: PathBuf,
    /// Our own certificate, where the members ask for one, as they should.
    pub client: Option<ClientCertificate>,
}

/// A certificate by which members know us: its common name is the user that etcd's roles speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl EtcdSettings {
    /// Settings without certificates and with the default leadership.
    pub fn new(
        endpoints: impl IntoIterator<Item = impl Into<String>>,
        prefix: impl Into<String>,
    ) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: prefix.into(),
            tls: None,
            leadership: LEADERSHIP_DEFAULT,
        }
    }

    /// Whole seconds of a leadership.
    pub(super) const fn leadership_seconds(&self) -> u64 {
        self.leadership.as_secs()
    }

    /// For one renewal: a third of the leadership, so that a lost one leaves time for two more.
    pub(super) fn keep_deadline(&self) -> Duration {
        self.leadership / 3
    }

    /// Checks what can be known without a cluster.
    pub(super) fn check(&self) -> Result<(), EtcdError> {
        let wrong = |cause: String| Err(EtcdError::Settings { cause });
        let scheme = if self.tls.is_some() {
            "https://"
        } else {
            "http://"
        };
        if self.endpoints.is_empty() || self.endpoints.len() > ENDPOINTS_MAX {
            return wrong(format!(
                "{} endpoints; name 1 to {ENDPOINTS_MAX}",
                self.endpoints.len()
            ));
        }
        if let Some(other) = self.endpoints.iter().find(|e| !e.starts_with(scheme)) {
            return wrong(format!("endpoint `{other}` does not begin with `{scheme}`"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(1..=PREFIX_BYTES_MAX).contains(&self.prefix.len()) || !self.prefix.bytes().all(plain) {
            return wrong(format!(
                "prefix `{}` is not of 1 to {PREFIX_BYTES_MAX} letters, digits, `.`, `-` and `_`",
                self.prefix
            ));
        }
        let whole = self.leadership.subsec_nanos() == 0;
        if !whole || !(LEADERSHIP_MIN..=LEADERSHIP_MAX).contains(&self.leadership) {
            return wrong(format!(
                "leadership of {:?}; it has whole seconds from {LEADERSHIP_MIN:?} to {LEADERSHIP_MAX:?}",
                self.leadership
            ));
        }
        Ok(())
    }

    /// What each connection is made with. Reads the certificates anew, so that a connection made after they were changed has the new ones.
    pub(super) fn options(&self) -> Result<ConnectOptions, EtcdError> {
        let options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(PING_EVERY, PING_TIMEOUT)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true);
        match &self.tls {
            Some(tls) => Ok(options.with_tls(tls.options()?)),
            None => Ok(options),
        }
    }
}

impl EtcdTls {
    fn options(&self) -> Result<TlsOptions, EtcdError> {
        let options = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read(&self.ca)?))
            .timeout(CONNECT_TIMEOUT);
        match &self.client {
            Some(client) => {
                let (certificate, key) = (read(&client.certificate)?, read(&client.key)?);
                Ok(options.identity(Identity::from_pem(certificate, key)))
            }
            None => Ok(options),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EtcdError> {
    std::fs::read(path).map_err(|source| EtcdError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> EtcdSettings {
        EtcdSettings::new(["http://a:2379", "http://b:2379"], "trackscan")
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut EtcdSettings), word: &str) {
        let mut settings = settings();
        change(&mut settings);
        let error = settings.check().expect_err("it is refused").to_string();
        assert!(error.contains(word), "{error}");
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_what_is_wrong() {
        assert!(settings().check().is_ok());
        check(|s| s.endpoints.clear(), "0 endpoints");
        check(|s| s.endpoints[1] = "https://b:2379".into(), "https://b");
        check(|s| s.endpoints = vec!["http://a:1".into(); 17], "17");
        check(|s| s.prefix.clear(), "prefix");
        check(|s| s.prefix = "p".repeat(65), "prefix");
        check(|s| s.prefix = "p/data".into(), "prefix");
        check(|s| s.leadership = Duration::from_millis(2_500), "whole");
        check(|s| s.leadership = Duration::from_secs(1), "1s");
        check(|s| s.leadership = Duration::from_secs(61), "61s");
    }

    #[test]
    fn certificates_go_with_https_only() {
        let tls = EtcdTls {
            ca: "ca.pem".into(),
            client: None,
        };
        check(|s| s.tls = Some(tls), "https://");
    }
}
