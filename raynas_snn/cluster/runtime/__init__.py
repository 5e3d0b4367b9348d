"""Joins or starts Ray, and queries its nodes, resources and processes."""
