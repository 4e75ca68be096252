"""Object storage: tapes and finished files on S3, GCS, Azure or a folder."""
