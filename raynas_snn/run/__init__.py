"""A run directory: its files, the trials' folders and records, the driver's lease, the provenance of its results."""
