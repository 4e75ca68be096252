"""Tapes and finished files in S3, GCS, Azure or a folder, by obstore; keys are relative to STORAGE_URL."""
