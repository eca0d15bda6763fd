//! Folders that imports registered as sources, and bundles.

use types::{ActorId, Digest, GateChoice, Problem, Purpose, SourceName, UnixMillis};

use super::{Change, Shelf};

/// A folder that an import registered as a read-only source.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct FolderRecord {
    /// The source's name.
    #[n(0)]
    pub(crate) name: SourceName,
    /// The folder, absolute.
    #[n(1)]
    pub(crate) folder: String,
    /// Who imported it first.
    #[n(2)]
    pub(crate) by: ActorId,
    /// When, for display.
    #[n(3)]
    pub(crate) at: UnixMillis,
}

/// A bundle that storage holds and that passed every check when it was registered.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct BundleRecord {
    /// Digest of its manifest: its name among machines.
    #[n(0)]
    pub(crate) digest: Digest,
    /// Its name among people.
    #[n(1)]
    pub(crate) name: String,
    /// Its version.
    #[n(2)]
    pub(crate) version: u64,
    /// What it may be used for.
    #[n(3)]
    pub(crate) purpose: Purpose,
    /// Hex of the key that signed it.
    #[n(4)]
    pub(crate) signed_by: String,
    /// Its files.
    #[n(5)]
    pub(crate) files: Vec<String>,
    /// Their sizes together.
    #[n(6)]
    pub(crate) bytes: u64,
    /// When it was registered.
    #[n(7)]
    pub(crate) registered_at: UnixMillis,
    /// Whether it has a residual with a known result, so that workers may be asked for it. What the first version wrote says nothing, and
    /// had none.
    #[n(8)]
    #[cbor(default)]
    pub(crate) residual: bool,
    /// Which gates send any track on. What earlier versions wrote does not say.
    #[n(9)]
    pub(crate) gates: Option<Gates>,
}

/// Whether a gate sends any track on to the residual, by the job's choice of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Gates {
    /// The bundle's own, where a job chooses none.
    #[n(0)]
    pub(crate) own: bool,
    /// That of the unsure ones.
    #[n(1)]
    pub(crate) unsure: bool,
    /// That of the positives.
    #[n(2)]
    pub(crate) positives: bool,
}

impl Gates {
    /// Whether the gate of this choice sends any track on.
    pub(crate) const fn take_any(self, choice: Option<GateChoice>) -> bool {
        match choice {
            None => self.own,
            Some(GateChoice::Unsure) => self.unsure,
            Some(GateChoice::Positives) => self.positives,
            Some(GateChoice::Both) => self.unsure || self.positives,
            Some(GateChoice::All) => true,
        }
    }
}

impl Shelf {
    /// Every registered folder, by name.
    pub(crate) async fn folders(&self) -> Result<Vec<FolderRecord>, Problem> {
        self.all(self.key(format_args!("source/"))).await
    }

    /// Registers a folder; one that is registered stays as it is.
    pub(crate) async fn add_folder(&self, record: FolderRecord) -> Result<(), Problem> {
        let key = self.key(format_args!("source/{}", record.name));
        let decide = |found: Option<FolderRecord>| {
            Ok(match found {
                Some(_) => Change::Keep(()),
                None => Change::Put(record.clone(), ()),
            })
        };
        self.change(key, decide).await
    }

    /// Every registered bundle, by digest.
    pub(crate) async fn bundles(&self) -> Result<Vec<BundleRecord>, Problem> {
        self.all(self.key(format_args!("bundle/"))).await
    }

    /// Registers a bundle; one that is registered stays as it is.
    pub(crate) async fn add_bundle(&self, record: BundleRecord) -> Result<(), Problem> {
        let key = self.key(format_args!("bundle/{}", record.digest));
        let decide = |found: Option<BundleRecord>| {
            Ok(match found {
                Some(_) => Change::Keep(()),
                None => Change::Put(record.clone(), ()),
            })
        };
        self.change(key, decide).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_s_record_of_an_earlier_version_says_nothing_of_its_gates() {
        let record = BundleRecord {
            digest: Digest::of(b"bundle"),
            name: "some".to_owned(),
            version: 1,
            purpose: Purpose::Production,
            signed_by: String::new(),
            files: Vec::new(),
            bytes: 0,
            registered_at: UnixMillis(0),
            residual: true,
            gates: None,
        };
        // An absent last field is left out, so these are the bytes that the version before wrote.
        let mut bytes = minicbor::to_vec(&record).unwrap();
        assert_eq!(bytes[0], 0x89, "an array of nine");
        assert_eq!(minicbor::decode::<BundleRecord>(&bytes).unwrap(), record);
        let gates = Gates {
            own: false,
            unsure: true,
            positives: false,
        };
        let told = BundleRecord {
            gates: Some(gates),
            ..record
        };
        bytes = minicbor::to_vec(&told).unwrap();
        assert_eq!(minicbor::decode::<BundleRecord>(&bytes).unwrap(), told);
    }
}
