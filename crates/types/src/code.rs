//! The error codes of Trackscan: UPPER_SNAKE, stable, each with its cause and what to do. `scanctl explain CODE` prints
//! this table, and the other closed sets made as this one is; rows and messages carry the codes. A code is never renamed
//! or reused.

use crate::verdict::named_enum;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A closed set of names that `scanctl explain` knows: each with a sentence of what happened and one of what to do.
macro_rules! coded_enum {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($variant:ident = $text:literal @ $n:literal, cause: $cause:literal, fix: $fix:literal;)+ }) => {
        named_enum! {
            $(#[$doc])*
            $name, $what {
                $(#[doc = $cause] $variant = $text @ $n,)+
            }
        }

        impl $name {
            /// What happened, in one sentence.
            #[must_use]
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause,)+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)+ }
            }
        }
    };
}
pub(crate) use coded_enum;

coded_enum! {
    /// A stable error code.
    Code, "code" {
        // Tracks: rows with verdict `unscannable`.
        UnsupportedCodec = "UNSUPPORTED_CODEC" @ 0, cause: "The file holds no audio stream that this version decodes.", fix: "Convert the file to FLAC, WAV, MP3, AAC-LC, ALAC, Ogg Vorbis, AIFF or CAF, or leave it out of the catalog.";
        NotAudio = "NOT_AUDIO" @ 1, cause: "The content is not audio of any kind that was recognised.", fix: "Check that the catalog names the right object.";
        Empty = "EMPTY" @ 2, cause: "The object has no bytes.", fix: "Restore the object in its source.";
        Damaged = "DAMAGED" @ 3, cause: "The container or stream is broken so early or so often that nothing could be judged.", fix: "Replace the file; `detail` says where it broke.";
        NoSamples = "NO_SAMPLES" @ 4, cause: "The file decodes without error but holds no samples.", fix: "Replace the file.";
        TooManyBytes = "TOO_MANY_BYTES" @ 5, cause: "The file is larger than 2 GiB.", fix: "Cut the recording into tracks.";
        TooLong = "TOO_LONG" @ 6, cause: "The recording is longer than 4 hours.", fix: "Cut the recording into tracks.";
        TooManySamples = "TOO_MANY_SAMPLES" @ 7, cause: "The recording decodes to more than 2,000,000,000 sample values.", fix: "Cut the recording or reduce its rate or channels.";
        SampleRateLimit = "SAMPLE_RATE_LIMIT" @ 8, cause: "The sample rate is outside 8 to 384 kHz.", fix: "Convert the file, or check its header.";
        ChannelLimit = "CHANNEL_LIMIT" @ 9, cause: "The file has no channel, or more than 8.", fix: "Mix it down to at most 8 channels.";
        DecodeCpuLimit = "DECODE_CPU_LIMIT" @ 10, cause: "Decoding used more processor time than 60 s plus 2 % of the duration.", fix: "Re-encode the file; it is built to be slow or badly damaged.";
        DecodeStalled = "DECODE_STALLED" @ 11, cause: "The decoder made no progress for 10 seconds.", fix: "Re-encode the file.";
        DecodeErrors = "DECODE_ERRORS" @ 12, cause: "One hundred frames in a row did not decode.", fix: "Replace the file.";
        DecodeCrash = "DECODE_CRASH" @ 13, cause: "The decoder process died on this file, alone, twice.", fix: "Re-encode the file; nothing else was affected. Please report it.";
        RingViolation = "RING_VIOLATION" @ 14, cause: "The decoder broke the rules of the sample ring; its output was discarded.", fix: "Re-encode the file; a hostile file may have taken over its decoder, which was replaced.";
        WorkerDied = "WORKER_DIED" @ 15, cause: "The worker process died on this track, alone, twice.", fix: "Report it with the track; its neighbours were scanned.";
        DeviceOutOfMemory = "DEVICE_OUT_OF_MEMORY" @ 16, cause: "A batch of this one track does not fit the device.", fix: "Give the node a device with more memory.";
        SourceMissing = "SOURCE_MISSING" @ 17, cause: "The object no longer exists in its source.", fix: "Restore the object or import the catalog again.";
        SourceDenied = "SOURCE_DENIED" @ 18, cause: "The source refused access to the object.", fix: "Grant the agent's account read access.";
        SourceChanged = "SOURCE_CHANGED" @ 19, cause: "The object's size or version differs from the snapshot's, or changed while it was read.", fix: "Import the catalog again and scan the new snapshot.";
        SourceRefused = "SOURCE_REFUSED" @ 20, cause: "The key leads through a link or to something that is no regular file.", fix: "Put a regular file there.";
        NonFiniteSamples = "NON_FINITE_SAMPLES" @ 21, cause: "Every sample is NaN or infinite.", fix: "Replace the file.";
        ScoreNotFinite = "SCORE_NOT_FINITE" @ 22, cause: "The network gave no finite score for this track.", fix: "Report it with the track and the bundle.";
        Encrypted = "ENCRYPTED" @ 23, cause: "The audio is protected by DRM.", fix: "Provide an unprotected master.";
        SourceUnreadable = "SOURCE_UNREADABLE" @ 24, cause: "The object cannot be read, while others of its source can.", fix: "Check the file system and its disk; restore the object from a copy.";

        // Catalog rows that are rejected at import.
        KeyInvalid = "KEY_INVALID" @ 40, cause: "The key is empty, absolute, longer than 1,024 bytes, or has `..`, `.`, an empty segment, a backslash, NUL or a line break.", fix: "Write the key relative to its source, with `/` between segments.";
        RawUrl = "RAW_URL" @ 41, cause: "The row names a URL or device path instead of a key in a named source.", fix: "Configure the place as a source and write source and key.";
        SourceUnknown = "SOURCE_UNKNOWN" @ 42, cause: "No source of that name or folder is configured here.", fix: "Start the coordinator with `--source NAME=DIR`.";
        NotRegularFile = "NOT_REGULAR_FILE" @ 43, cause: "The entry is a link, device, socket or pipe.", fix: "Replace it by a regular file, or leave it out.";
        DuplicateTrackId = "DUPLICATE_TRACK_ID" @ 44, cause: "Another row of this manifest has the same track_id.", fix: "Give each track its own id.";
        DuplicateKey = "DUPLICATE_KEY" @ 45, cause: "Another row of this manifest names the same object.", fix: "Keep one row for each object.";
        FieldTooLong = "FIELD_TOO_LONG" @ 46, cause: "A field is longer than 64 KiB or the row longer than 1 MiB.", fix: "Shorten it; a quote may be missing.";
        FieldInvalid = "FIELD_INVALID" @ 47, cause: "A field has a value outside its column's rules.", fix: "Correct the field that `detail` names.";
        EncodingInvalid = "ENCODING_INVALID" @ 48, cause: "The line is not valid UTF-8.", fix: "Save the manifest as UTF-8.";
        ColumnMissing = "COLUMN_MISSING" @ 49, cause: "The manifest lacks a column that is needed.", fix: "Add the column; `detail` names it.";
        RowMalformed = "ROW_MALFORMED" @ 50, cause: "The row does not have the columns of the header, or its quoting is broken.", fix: "Correct the row.";
        ManifestUnknown = "MANIFEST_UNKNOWN" @ 51, cause: "The path is neither a folder nor a CSV or M3U8 file.", fix: "Give a folder, a `.csv` or a `.m3u8`.";
        CatalogTooLarge = "CATALOG_TOO_LARGE" @ 52, cause: "The manifest has more rows than one list may hold.", fix: "Split it into several catalogs.";
        CatalogEmpty = "CATALOG_EMPTY" @ 53, cause: "No row of the manifest was accepted.", fix: "See the rejected rows for the reasons.";

        // Requests.
        InvalidRequest = "INVALID_REQUEST" @ 70, cause: "A field of the request is missing or out of range.", fix: "Correct the field that the message names.";
        NotFound = "NOT_FOUND" @ 71, cause: "There is no such thing.", fix: "List what exists with the `ls` command of its kind.";
        AlreadyExists = "ALREADY_EXISTS" @ 72, cause: "The name is taken by something else.", fix: "Choose another name.";
        JobClosed = "JOB_CLOSED" @ 73, cause: "The job is publishing, published or cancelled and accepts no change.", fix: "Submit a new job.";
        NotLeader = "NOT_LEADER" @ 74, cause: "This coordinator does not lead at the moment.", fix: "Retry; clients find the leader by themselves.";
        StoreUnavailable = "STORE_UNAVAILABLE" @ 75, cause: "The store does not answer or its answer is unknown.", fix: "Work resumes by itself once the store answers; check its health.";
        StoreFull = "STORE_FULL" @ 76, cause: "The store has no room left.", fix: "Free space; work resumes by itself.";
        StoreCorrupt = "STORE_CORRUPT" @ 77, cause: "A stored value does not match its checksum.", fix: "Restore the store from a backup, and the storage from the one of the same time; nothing was repaired silently.";
        StorageUnavailable = "STORAGE_UNAVAILABLE" @ 78, cause: "The object storage does not answer.", fix: "Work resumes by itself once it answers; check its health and credentials.";
        StorageFull = "STORAGE_FULL" @ 79, cause: "The object storage has no room left.", fix: "Free space; work resumes by itself.";
        StorageCorrupt = "STORAGE_CORRUPT" @ 80, cause: "An object does not match the digest that names it.", fix: "Run `scanctl result verify`; restore the object from a copy.";
        StorageDenied = "STORAGE_DENIED" @ 93, cause: "The object storage refuses access with these credentials.", fix: "Check the credentials and the rights of bucket and prefix; work resumes by itself once access is granted.";
        StorageMissing = "STORAGE_MISSING" @ 94, cause: "The bucket or folder that is configured as object storage does not exist.", fix: "Make or mount it, or correct the setting; work resumes by itself once it is there.";
        StorageForeign = "STORAGE_FOREIGN" @ 95, cause: "Another cluster keeps its objects under this storage prefix, which this store is new to or has objects under too.", fix: "Give each cluster a bucket or prefix of its own; where this store takes the place of one that is gone for good, run `scanctl admin restore FILE` or `scanctl admin rebuild`.";
        StorageOther = "STORAGE_OTHER" @ 96, cause: "The object storage that is configured has nothing of this store, whose objects were kept elsewhere; it is empty, or another cluster's.", fix: "Mount it, or correct the setting `storage`: all coordinators of a store have the same. Clusters that share an etcd have an `etcd-prefix` each. Where the objects were moved, move `_cluster/` with them; where they are gone for good, run `scanctl admin rebuild --replace --ignore-missing-marks`.";
        StoreCertificate = "STORE_CERTIFICATE" @ 97, cause: "The store's certificate is not believed, or the store does not believe this side's.", fix: "Check `etcd-ca`, `etcd-cert` and `etcd-key`, the names and dates in the certificates, and the clocks of both sides.";
        Overloaded = "OVERLOADED" @ 81, cause: "Too many requests are under way.", fix: "Retry after a moment.";
        VersionMismatch = "VERSION_MISMATCH" @ 82, cause: "The two sides run versions that do not work together.", fix: "Install the same version on both; of a coordinator and an agent, one may be of the version after the other's.";
        Internal = "INTERNAL" @ 83, cause: "An assumption of the program did not hold.", fix: "Report it with the log around the message.";
        StagesUnavailable = "STAGES_UNAVAILABLE" @ 84, cause: "The bundle has no residual, so it runs the screen alone.", fix: "Submit with `--stages screen`, or name a bundle that has one (`scanctl bundle ls`).";
        ResultNotPublished = "RESULT_NOT_PUBLISHED" @ 85, cause: "The job has not published its result yet.", fix: "Wait with `scanctl scan wait JOB`.";
        StoreOlder = "STORE_OLDER" @ 89, cause: "The store is not the one that wrote what stands in the storage, or is an older copy of it.", fix: "Put back the store as it was; without it, run `scanctl admin restore FILE` with a backup or `scanctl admin rebuild`, which make the records anew from the storage.";
        RestoreUnfinished = "RESTORE_UNFINISHED" @ 90, cause: "A restore or rebuild of this store has begun and has not come to its end.", fix: "Run the same command again; it goes on where it was.";
        BackupDamaged = "BACKUP_DAMAGED" @ 91, cause: "The file is no whole backup of a store.", fix: "Use another backup; `scanctl admin backup verify FILE` says what one holds.";
        StoreNotEmpty = "STORE_NOT_EMPTY" @ 92, cause: "The store holds records, which the command would replace.", fix: "Give the command `--replace` if these records are to go; what counts is read from the storage.";
        NothingToRetry = "NOTHING_TO_RETRY" @ 88, cause: "The result has no unscannable track.", fix: "Nothing: every track has a verdict.";
        DeadlineExceeded = "DEADLINE_EXCEEDED" @ 86, cause: "The answer did not come within the time the caller gave.", fix: "Retry, or give a longer `--timeout`.";
        CoordinatorUnreachable = "COORDINATOR_UNREACHABLE" @ 87, cause: "No coordinator answers at the address.", fix: "Start one with `scanctl up`, or give its address with `--address`.";

        // Agents.
        IdentityInUse = "IDENTITY_IN_USE" @ 100, cause: "Another agent with this node name has beaten within the last 6 seconds.", fix: "Give each node its own name, or wait until the other has ended.";
        SessionOld = "SESSION_OLD" @ 101, cause: "A newer session of this node has joined.", fix: "Nothing: this agent joins again or ends.";
        NodeUnknown = "NODE_UNKNOWN" @ 102, cause: "The node has not joined.", fix: "Nothing: the agent joins again.";
        GenerationOld = "GENERATION_OLD" @ 103, cause: "The store was restored since; this agent's work belongs to an older generation.", fix: "Nothing: the agent drops it and joins again.";
        CanaryFailed = "CANARY_FAILED" @ 104, cause: "The device gave other scores for the bundle's canary clip than it must; it was taken out and its part was not committed.", fix: "Check the device (driver log, ECC counters), then restart the agent.";
        DeviceFaulty = "DEVICE_FAULTY" @ 105, cause: "The device's worker failed too often in ten minutes; the device was taken out.", fix: "Check the device and the agent's log, then restart the agent.";
        BeatUnknownGrant = "BEAT_UNKNOWN_GRANT" @ 106, cause: "The beat names a grant that is not live.", fix: "Nothing: the agent forgets the grant.";
        CommitInvalid = "COMMIT_INVALID" @ 107, cause: "The commit does not match its grant or its part.", fix: "Report it with the agent's log; nothing was counted.";

        // Bundles.
        BundleUnknown = "BUNDLE_UNKNOWN" @ 120, cause: "No bundle of that name or digest is registered.", fix: "List them with `scanctl bundle ls`.";
        BundleUnsigned = "BUNDLE_UNSIGNED" @ 121, cause: "The bundle has no signature.", fix: "Use a signed bundle.";
        BundleUntrusted = "BUNDLE_UNTRUSTED" @ 122, cause: "The signature is of no trusted key, or does not match the manifest.", fix: "Add the signer's public key with `--trusted-key` if you trust it; otherwise discard the bundle.";
        BundleDigestMismatch = "BUNDLE_DIGEST_MISMATCH" @ 123, cause: "A file of the bundle differs from the digest in its manifest.", fix: "Copy the bundle again from where it was made.";
        BundleRollback = "BUNDLE_ROLLBACK" @ 124, cause: "The bundle is older than the lowest version accepted for its name.", fix: "Use a newer bundle, or lower `--min-bundle` deliberately.";
        BundleInvalid = "BUNDLE_INVALID" @ 125, cause: "The bundle's manifest or tensors break the format's rules.", fix: "Make the bundle again; the message names the place.";
        BundleForbiddenFormat = "BUNDLE_FORBIDDEN_FORMAT" @ 126, cause: "The file is a pickle or TorchScript, which can execute code.", fix: "Bring weights as safetensors; `trackscan-worker bundle convert` makes them of a separator's published file.";
        BundleUnsupported = "BUNDLE_UNSUPPORTED" @ 127, cause: "The bundle names an architecture or rule that this version does not have.", fix: "Use a bundle made for this version.";

        // Labelled tracks: `evaluate`, `calibrate`.
        LabelsOneClass = "LABELS_ONE_CLASS" @ 160, cause: "The labelled tracks are all human, or all made by machines.", fix: "Label tracks of both classes.";
        LabelsTooFew = "LABELS_TOO_FEW" @ 161, cause: "Too few labelled tracks for what is asked of them.", fix: "Label more tracks; the message says how many each tier needs. `--likely-ai-tier` of `calibrate` takes one that needs fewer.";
        LabelsLeak = "LABELS_LEAK" @ 162, cause: "The same content, ISRC or artist stands on both sides of the split, so that what is counted would flatter.", fix: "Put the tracks that the message names on one side, or leave the column `split` out.";
        LabelsUnmatched = "LABELS_UNMATCHED" @ 163, cause: "The labels name tracks that the job or the folder does not have.", fix: "Correct the names that the message shows, or name the job or the folder that has them.";
        LabelsContradict = "LABELS_CONTRADICT" @ 164, cause: "The same content is labelled human and ai.", fix: "Correct the label of one of the tracks that the message names.";
        BundleOther = "BUNDLE_OTHER" @ 165, cause: "The job was not scanned with this bundle.", fix: "Give the folder of the bundle that the message names, or scan with this one.";
        ResidualPartial = "RESIDUAL_PARTIAL" @ 166, cause: "Only some of the labelled tracks were separated, chosen by the screen, so that the residual cannot be calibrated on them.", fix: "Scan them again with `--stages both --gate all`, or with `--stages screen` to calibrate the screen alone.";
        ScoresTellNothing = "SCORES_TELL_NOTHING" @ 167, cause: "On the labelled tracks a higher score of the screen does not mean a higher chance of ai.", fix: "Check the labels; if they are right, the bundle does not fit this music.";

        // `up`, configuration, doctor.
        ConfigInvalid = "CONFIG_INVALID" @ 140, cause: "The configuration has an unknown key or a value out of range.", fix: "Correct the key that the message names; `--help` lists them all.";
        ConfigDiffers = "CONFIG_DIFFERS" @ 148, cause: "This coordinator is configured otherwise than the one that leads.", fix: "Give all coordinators of a cluster the same settings: what one is told holds while it leads.";
        DataLocked = "DATA_LOCKED" @ 141, cause: "Another process uses this data folder.", fix: "Stop it, or give another `--data`.";
        ChildDied = "CHILD_DIED" @ 142, cause: "A child process died five times within a minute.", fix: "Read the log lines above; `scanctl doctor` may name the cause.";
        BinaryMissing = "BINARY_MISSING" @ 143, cause: "A sibling binary is not where scanctl stands.", fix: "Build or install all five binaries together.";
        OutputUnwritable = "OUTPUT_UNWRITABLE" @ 147, cause: "What was to be printed or exported could not be written.", fix: "Free space where it goes, or write it elsewhere; nothing in the cluster is affected.";
        AddressInUse = "ADDRESS_IN_USE" @ 144, cause: "Another process listens on the address.", fix: "Stop it, or give another `--listen`.";
        DeviceAbsent = "DEVICE_ABSENT" @ 145, cause: "The device asked for is not on this machine or its driver does not load.", fix: "Use `--device auto`, or install the driver.";
        SandboxUnavailable = "SANDBOX_UNAVAILABLE" @ 146, cause: "The kernel refuses the decoder's sandbox (seccomp or no_new_privs).", fix: "Run on Linux 5.13 or newer with seccomp enabled.";
    }
}

/// A code with what happened this time: the form in which every error reaches a person or a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Problem {
    /// The stable code.
    pub code: Code,
    /// What was attempted, on which thing: lower case, no full stop.
    pub message: String,
}

impl Problem {
    /// A problem with its particulars.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A problem whose particulars are an error's.
    #[must_use]
    pub fn of(code: Code, error: &dyn std::error::Error) -> Self {
        Self::new(code, chain(error))
    }
}

/// An error with its causes, outermost first, as one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let words: Vec<String> = causes.map(ToString::to_string).collect();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    /// Holds a closed set to its form: texts of UPPER_SNAKE, each once, with whole sentences.
    macro_rules! check {
        ($name:ident) => {
            let mut seen = std::collections::BTreeSet::new();
            for code in crate::$name::ALL {
                let text = code.as_str();
                assert!(seen.insert(text), "{text} twice");
                assert!(
                    text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
                    "{text}"
                );
                for sentence in [code.cause(), code.fix()] {
                    assert!(
                        sentence.ends_with('.') && sentence.starts_with(char::is_uppercase),
                        "{text}: {sentence}"
                    );
                }
            }
        };
    }

    #[test]
    fn each_code_is_upper_snake_unique_and_says_cause_and_fix_in_sentences() {
        check!(Code);
        check!(InconclusiveReason);
        check!(Warning);
        check!(Blocking);
        check!(FindingCode);
    }
}
