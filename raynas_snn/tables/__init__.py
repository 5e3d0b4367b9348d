"""Output of a run's statistics: tables, captions, warnings, drawings of cells, sweep files for retraining."""
