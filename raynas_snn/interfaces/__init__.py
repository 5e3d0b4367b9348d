"""The types that a kind of trial and a data set implement. Importable without ray and torch."""
