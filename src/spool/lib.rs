//! Deltas on disk: claim, share, checkpoint, settle
