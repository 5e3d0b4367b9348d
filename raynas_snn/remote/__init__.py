"""A run in a storage that machines share: S3, Google Cloud Storage, NFS, a folder."""
