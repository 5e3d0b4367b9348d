"""The built-in data sets: how their files are found, checked, downloaded and decoded. Importable without torch."""
