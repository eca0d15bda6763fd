//! The package's own files after random changes: whatever becomes of them, reading ends.

use crate::make::{Bytes, STORED, zip};
use checkpoint::Stated;
use proptest::prelude::*;
use rawzip::ZipArchive;

const OLDER: &[u8] = include_bytes!("../../golden/older/7e57da7a-544ae575.th");
const NEWER: &[u8] = include_bytes!("../../golden/newer/7e57da7a.safetensors");

/// The pickle of the package's archive, and its other entries.
fn taken_apart() -> (Bytes, Vec<(String, Bytes)>) {
    let archive = ZipArchive::from_slice(OLDER).unwrap();
    let mut entries = Vec::new();
    for entry in archive.entries() {
        let entry = entry.unwrap();
        let name = String::from_utf8(entry.file_path().as_bytes().to_vec()).unwrap();
        let data = archive
            .get_entry(entry.wayfinder())
            .unwrap()
            .data()
            .to_vec();
        entries.push((name, data));
    }
    let at = entries
        .iter()
        .position(|(name, _)| name.ends_with("/data.pkl"))
        .unwrap();
    let (_, pickle) = entries.remove(at);
    (pickle, entries)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever becomes of a pickle's bytes, reading ends, and gives a checkpoint or a refusal.
    #[test]
    fn no_change_of_a_pickle_does_more_than_be_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        keep in any::<bool>(),
    ) {
        let (mut pickle, entries) = taken_apart();
        for (at, byte) in changes {
            let at = at.index(pickle.len());
            pickle[at] = byte;
        }
        if !keep {
            pickle.truncate(cut.index(pickle.len()));
        }
        let folder = entries[0].0.split('/').next().unwrap().to_owned();
        let name = format!("{folder}/data.pkl");
        let mut all = vec![(name.as_str(), STORED, pickle.as_slice())];
        all.extend(entries.iter().map(|(name, data)| (name.as_str(), STORED, data.as_slice())));
        if let Ok(stated) = Stated::read(&zip(&all)) {
            let mut bytes = Vec::new();
            stated.write(&mut bytes).unwrap();
        }
    }

    /// As above, of any bytes of either kind of file.
    #[test]
    fn no_change_of_a_file_does_more_than_be_refused(
        older in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = if older { OLDER.to_vec() } else { NEWER.to_vec() };
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(stated) = Stated::read(&file) {
            let mut bytes = Vec::new();
            stated.write(&mut bytes).unwrap();
        }
    }
}
