"""Data, epochs, checkpoints, distributed helpers: everything that trains, with torch and without ray."""
