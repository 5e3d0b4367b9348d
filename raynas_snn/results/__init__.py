"""What a sweep leaves on disk: run directories, tables, drawings. Imports neither ray nor torch."""
