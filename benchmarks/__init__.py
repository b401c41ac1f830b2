"""Benchmarks: figures for numbers.md, each beside its floor in the same run, as ratios. Nothing here is a test."""
