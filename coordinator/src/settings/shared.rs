//! Settings of a coordinator that is not alone: the store that it shares, where others reach it, and how far its links may go.

use std::path::{Path, PathBuf};

use scheduler::record::Form;
use serde::Deserialize;
use store::{ClientCertificate, EtcdSettings, EtcdTls};
use types::Problem;

use super::{Raw, invalid};

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreKind {
    Embedded,
    Etcd,
}

/// Where records live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// In this folder, which no other coordinator uses.
    Embedded(PathBuf),
    /// In an etcd cluster, which several coordinators share.
    Etcd(EtcdSettings),
}

/// Where records live, by what was read.
pub(super) fn store(raw: &Raw, data: &Path) -> Result<Where, Problem> {
    match raw.store {
        StoreKind::Embedded if raw.etcd_endpoint.is_empty() => {
            Ok(Where::Embedded(data.join("store")))
        }
        StoreKind::Embedded => Err(invalid(
            "setting `etcd-endpoint` is given, and setting `store` is not `etcd`",
        )),
        StoreKind::Etcd => Ok(Where::Etcd(EtcdSettings {
            tls: tls(raw)?,
            ..EtcdSettings::new(raw.etcd_endpoint.clone(), raw.etcd_prefix.clone())
        })),
    }
}

/// How shard records are written: brief on etcd, which holds all of them in memory and which no version before 0.2 can use.
pub(super) const fn shard_form(kind: StoreKind) -> Form {
    match kind {
        StoreKind::Embedded => Form::Long,
        StoreKind::Etcd => Form::Brief,
    }
}

/// The certificates, where there are any.
fn tls(raw: &Raw) -> Result<Option<EtcdTls>, Problem> {
    let client = match (raw.etcd_cert.clone(), raw.etcd_key.clone()) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(invalid(
                "one of the settings `etcd-cert` and `etcd-key` is given without the other",
            ));
        }
    };
    match (raw.etcd_ca.clone(), client) {
        (Some(ca), client) => Ok(Some(EtcdTls { ca, client })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(invalid("setting `etcd-cert` is given without `etcd-ca`")),
    }
}

/// Where clients are to reach this coordinator, where the address it listens on does not say so.
pub(super) fn advertise(raw: &Raw) -> Result<Option<String>, Problem> {
    match &raw.advertise {
        Some(text) => match proto::leader::address(text) {
            Some(address) => Ok(Some(address)),
            None => Err(invalid(format!(
                "setting `advertise`: `{text}` is not http://HOST:PORT"
            ))),
        },
        None if raw.listen.ip().is_unspecified() => Err(invalid(format!(
            "setting `advertise` has no value, and `listen` names no address that others reach: {}",
            raw.listen
        ))),
        None => Ok(None),
    }
}

/// Until links are encrypted, nothing listens beyond this machine unless an operator says that the network is the cluster's alone.
pub(super) fn check_loopback(raw: &Raw) -> Result<(), Problem> {
    let listen = raw.listen;
    if listen.ip().is_loopback() || raw.links_unencrypted {
        return Ok(());
    }
    Err(invalid(format!(
        "setting `listen`: {listen} is not on loopback, and links between machines are not encrypted in this version; on a network that \
         nobody else is on, `links-unencrypted` allows it"
    )))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_refused};
    use super::*;

    #[test]
    fn nothing_listens_beyond_this_machine() {
        for listen in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            check_refused(&["--data", "/d", "--listen", listen], "is not on loopback");
        }
        assert!(check(&["--data", "/d", "--listen", "[::1]:0"]).is_ok());
        let told = ["--data", "/d", "--links-unencrypted", "--listen"];
        let far = check(&[&told[..], &["192.0.2.1:1"]].concat()).unwrap();
        assert_eq!(far.advertised(far.listen), "http://192.0.2.1:1");
        let all = [&told[..], &["0.0.0.0:1"]].concat();
        check_refused(&all, "setting `advertise` has no value");
        let named = check(&[&all[..], &["--advertise", "c1:7700"]].concat()).unwrap();
        assert_eq!(named.advertised(named.listen), "http://c1:7700");
        check_refused(
            &[&all[..], &["--advertise", "http://c1/x"]].concat(),
            "setting `advertise`",
        );
    }

    #[test]
    fn shard_records_are_brief_on_etcd_alone() {
        let form = |more: &[&str]| {
            let settings = check(&[&["--data", "/d"], more].concat()).unwrap();
            settings.policy.shard_form
        };
        assert_eq!(form(&[]), Form::Long);
        let etcd = ["--store", "etcd", "--etcd-endpoint", "http://e1:2379"];
        assert_eq!(form(&etcd), Form::Brief);
    }

    #[test]
    fn a_shared_store_is_named_with_its_members_and_certificates() {
        let etcd = |more: &[&'static str]| {
            [
                &[
                    "--data",
                    "/d",
                    "--store",
                    "etcd",
                    "--etcd-endpoint",
                    "https://e1:2379",
                ],
                more,
            ]
            .concat()
        };
        let settings = check(&etcd(&[
            "--etcd-ca",
            "ca",
            "--etcd-cert",
            "c",
            "--etcd-key",
            "k",
        ]));
        let Where::Etcd(settings) = settings.unwrap().store else {
            panic!("it is etcd");
        };
        assert_eq!(settings.prefix, "trackscan");
        assert!(settings.tls.is_some_and(|tls| tls.client.is_some()));
        check_refused(&etcd(&["--etcd-cert", "c"]), "`etcd-cert` and `etcd-key`");
        check_refused(
            &etcd(&["--etcd-cert", "c", "--etcd-key", "k"]),
            "without `etcd-ca`",
        );
        check_refused(
            &["--data", "/d", "--etcd-endpoint", "http://e:1"],
            "is not `etcd`",
        );
    }
}
