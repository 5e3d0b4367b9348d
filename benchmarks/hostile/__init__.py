"""Everything that this package reads from outside, each with a way to give it malformed input."""
