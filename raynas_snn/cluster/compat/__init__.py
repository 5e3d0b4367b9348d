"""All that is used of Ray's insides, one function or class per need; the rest of the package uses Ray's public API.

Each docstring says what its need is, which public way is missing in Ray, and what happens without it.
"""
