"""The built-in search strategies, one module each. See README.md in the folder above for adding one."""
