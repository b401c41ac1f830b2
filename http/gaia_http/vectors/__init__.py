"""Vectors of texts, for every wire protocol: which model makes them, and the response that waits for it."""
