//! Sole owner of the object store: sources, snapshots, parts and manifests.
