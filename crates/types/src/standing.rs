//! Codes that say how work and results stand, beside the error codes: why tracks do not run, and what a verification finds.
//! The scheduler and the verifier give them their particulars; `scanctl explain` prints what is written here.

use crate::code::coded_enum;
use crate::verdict::named_enum;
use core::fmt;
use serde::{Deserialize, Serialize};

coded_enum! {
    /// Why tracks do not run. The scheduler's reasons carry particulars; each has one of these codes.
    Blocking, "reason why work does not run" {
        NotLeading = "NOT_LEADING" @ 0, cause: "This coordinator does not lead, or reads its state.", fix: "Ask the leading coordinator, or wait until this one has read its state.";
        StoreTrouble = "STORE_TROUBLE" @ 1, cause: "The store takes no writes.", fix: "Look after the store; work resumes by itself.";
        WriteUnderWay = "WRITE_UNDER_WAY" @ 2, cause: "A change of the record is being written, or its outcome is unknown.", fix: "Nothing.";
        JobPaused = "JOB_PAUSED" @ 3, cause: "An operator paused the job.", fix: "Resume the job.";
        JobCancelling = "JOB_CANCELLING" @ 4, cause: "A cancel of the job is on its way.", fix: "Nothing.";
        JobPublishing = "JOB_PUBLISHING" @ 5, cause: "Every track has its row and the manifest is being written.", fix: "Nothing.";
        ManifestFails = "MANIFEST_FAILS" @ 6, cause: "The manifest could not be written and is tried again.", fix: "Look after storage; the manifest is written by itself.";
        JobPublished = "JOB_PUBLISHED" @ 7, cause: "The result is published: nothing is left to do.", fix: "Nothing.";
        JobCancelled = "JOB_CANCELLED" @ 8, cause: "The job was cancelled.", fix: "Nothing.";
        NoNode = "NO_NODE" @ 9, cause: "No node has joined.", fix: "Start a node agent.";
        NodesSilent = "NODES_SILENT" @ 10, cause: "Every node has fallen silent or left.", fix: "Start the agent again, or look at its machine and network.";
        NodesNotServing = "NODES_NOT_SERVING" @ 11, cause: "Every living node is cordoned or drains.", fix: "Uncordon a node.";
        NoNodeForStage = "NO_NODE_FOR_STAGE" @ 12, cause: "No living node runs the stage that the tracks need.", fix: "Start a node that runs this stage.";
        BundleRefused = "BUNDLE_REFUSED" @ 13, cause: "No living node, or not the node that is asked about, could load the bundle and serve the stage with it.", fix: "Read the agents' logs: the bundle is not trusted, too old or damaged there, or has nothing for the nodes' `--dtype`.";
        DevicesOut = "DEVICES_OUT" @ 14, cause: "Every device of every living node is out of service.", fix: "Check the devices, then restart the agents.";
        QueuedBehind = "QUEUED_BEHIND" @ 15, cause: "Another job goes first.", fix: "Nothing.";
        InHand = "IN_HAND" @ 16, cause: "Nodes have the tracks in hand: they run.", fix: "Nothing.";
        HeldBySilentNode = "HELD_BY_SILENT_NODE" @ 17, cause: "A node that fell silent holds the tracks until another asks for more.", fix: "Nothing.";
        ShardFull = "SHARD_FULL" @ 18, cause: "The shard has as many live grants as a shard may have.", fix: "Nothing.";
        BackOff = "BACK_OFF" @ 19, cause: "Suspect tracks wait until they are tried again.", fix: "Nothing.";
        RetriesSpent = "RETRIES_SPENT" @ 20, cause: "The shard failed as often as its budget allows and is tried now and then.", fix: "Read the logs of the nodes that failed; it is still tried now and then.";
        WaitsForOtherNode = "WAITS_FOR_OTHER_NODE" @ 21, cause: "Suspect tracks wait for a node on which they have not died.", fix: "Nothing, if another node serves; else it goes to the same one.";
        NotYetPulled = "NOT_YET_PULLED" @ 22, cause: "The next node that asks gets the tracks.", fix: "Nothing.";
        ShardDone = "SHARD_DONE" @ 23, cause: "Every track of the shard has its row.", fix: "Nothing.";
        NodeLeft = "NODE_LEFT" @ 24, cause: "The node has not joined, or has left.", fix: "Start its agent.";
        NodeSilent = "NODE_SILENT" @ 25, cause: "The node has fallen silent.", fix: "Start the agent again, or look at its machine and network.";
        NodeCordoned = "NODE_CORDONED" @ 26, cause: "The node is cordoned.", fix: "Uncordon a node.";
        NodeDraining = "NODE_DRAINING" @ 27, cause: "The node drains.", fix: "Nothing.";
        NodeFull = "NODE_FULL" @ 28, cause: "The node holds as many grants as a node may hold.", fix: "Nothing.";
        NodeDevicesOut = "NODE_DEVICES_OUT" @ 29, cause: "Every device of the node is out of service.", fix: "Check the devices, then restart the agents.";
        NothingToDo = "NOTHING_TO_DO" @ 30, cause: "No running job has a track that this node could take.", fix: "Nothing.";
        JobRevoking = "JOB_REVOKING" @ 31, cause: "What a device made is being revoked; the job is published after that.", fix: "Nothing.";
        NoNodeWithDevice = "NO_NODE_WITH_DEVICE" @ 32, cause: "No living node has the device that the job asks for.", fix: "Start a node that has it on each device, or submit the job without the requirement.";
        NoNodeWithMemory = "NO_NODE_WITH_MEMORY" @ 33, cause: "No living node has devices with the memory that the job asks for.", fix: "Start a node that has it on each device, or submit the job without the requirement.";
        NoNodeWithBundle = "NO_NODE_WITH_BUNDLE" @ 34, cause: "No living node has the bundle loaded that the job asks to find loaded.", fix: "Submit a job that may load the bundle, or let one load it.";
        QuotaGrants = "QUOTA_GRANTS" @ 35, cause: "The tenant holds as many grants as its quota allows.", fix: "Nothing, or raise the tenant's quota.";
        QuotaTracks = "QUOTA_TRACKS" @ 36, cause: "The tenant has as many tracks under way as its quota allows.", fix: "Nothing, or raise the tenant's quota.";
        QuotaJobs = "QUOTA_JOBS" @ 37, cause: "The tenant has as many jobs running as its quota allows.", fix: "Nothing, or raise the tenant's quota.";
        OtherTenantFirst = "OTHER_TENANT_FIRST" @ 38, cause: "Another tenant has had less than its share and goes first.", fix: "Nothing.";
        NodeRevoked = "NODE_REVOKED" @ 39, cause: "What the node made is being revoked; it gets work after that.", fix: "Nothing.";
        NodeStorage = "NODE_STORAGE" @ 40, cause: "The node cannot store its parts and tries again.", fix: "Look after the node's disk and the storage; what was scanned is stored and counted by itself.";
    }
}

coded_enum! {
    /// What `result verify` finds wrong with a published result.
    FindingCode, "finding of a verification" {
        Manifest = "MANIFEST" @ 0, cause: "The manifest cannot be read or is not of this job.", fix: "Restore the manifest's object from a copy of the storage.";
        Snapshot = "SNAPSHOT" @ 1, cause: "The snapshot that was scanned cannot be read.", fix: "Restore the snapshot's object from a copy of the storage.";
        Part = "PART" @ 2, cause: "A part is missing, changed or unreadable.", fix: "Restore the part's object from a copy of the storage.";
        RowTwice = "ROW_TWICE" @ 3, cause: "A track has more than one row.", fix: "Report it with the job; scan the snapshot again.";
        RowsMissing = "ROWS_MISSING" @ 4, cause: "Tracks of the snapshot have no row.", fix: "Mend the parts that are named beside it; else report it and scan the snapshot again.";
        RowForeign = "ROW_FOREIGN" @ 5, cause: "A row is of no track of the snapshot, or names another one.", fix: "Report it with the job; scan the snapshot again.";
    }
}
