"""The driver: the process that runs Tune, records ended trials, stops the sweep and shows its progress."""
