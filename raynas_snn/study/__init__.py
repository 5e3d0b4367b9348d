"""Optuna's part of a sweep: proposals, samplers, the outcome of each proposal, warm start. Does not import ray."""
