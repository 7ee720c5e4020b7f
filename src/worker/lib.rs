//! A worker: lines, documents, batches, posts, rejects, checkpoints
