//! Certificates made for one test: an authority, servers and clients that it signs, valid or with dates in the past. Files lie in a folder
//! of the test and are worth nothing after it.

use std::path::{Path, PathBuf};

use etcd_client::{Certificate, Identity, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};

use crate::ClientCertificate;

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dates {
    /// Now.
    Valid,
    /// Some years ago.
    Past,
}

/// Who signs.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
    name: String,
}

impl Authority {
    /// Makes an authority whose files lie in `folder`.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let authority = Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
        };
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(authority.parameters(), &key);
        let issuer = issuer.expect("an authority can be made");
        write(&authority.certificate(), &issuer.pem());
        write(&authority.file("authority.key"), &key.serialize_pem());
        authority
    }

    /// The authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.file("authority.pem")
    }

    /// A certificate by which a client is known as `name`.
    #[must_use]
    pub fn client(&self, name: &str, dates: Dates) -> ClientCertificate {
        let (certificate, key) = self.sign(name, dates);
        ClientCertificate { certificate, key }
    }

    /// A certificate and key of a server on this machine.
    #[must_use]
    pub fn server(&self, dates: Dates) -> (PathBuf, PathBuf) {
        self.sign("127.0.0.1", dates)
    }

    /// What a client known as `name` connects with.
    pub(super) fn client_options(&self, name: &str) -> TlsOptions {
        let client = self.client(name, Dates::Valid);
        let identity = Identity::from_pem(read(&client.certificate), read(&client.key));
        TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read(&self.certificate())))
            .identity(identity)
    }

    fn parameters(&self) -> CertificateParams {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters
            .distinguished_name
            .push(DnType::CommonName, self.name.as_str());
        parameters
    }

    /// The server's certificate may be a client's too: a server of etcd that has one speaks to itself with it.
    fn sign(&self, name: &str, dates: Dates) -> (PathBuf, PathBuf) {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut parameters = CertificateParams::new(names).expect("these are names");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        if dates == Dates::Past {
            parameters.not_before = date_time_ymd(2020, 1, 1);
            parameters.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = parameters.signed_by(&key, &self.issuer());
        let certificate = certificate.expect("the authority can sign");
        let stem = format!("{name}-{dates:?}");
        let files = (
            self.file(&format!("{stem}.pem")),
            self.file(&format!("{stem}.key")),
        );
        write(&files.0, &certificate.pem());
        write(&files.1, &key.serialize_pem());
        files
    }

    fn issuer(&self) -> rcgen::Issuer<'static, KeyPair> {
        let key = KeyPair::from_pem(&read(&self.file("authority.key")));
        rcgen::Issuer::new(self.parameters(), key.expect("it was written here"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}-{name}", self.name))
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the test's folder can be written");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("it was written here")
}
