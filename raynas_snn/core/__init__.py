"""Shared by all other packages: errors, the registry, files, text for terminals. Imports neither ray nor torch."""
