"""Streams of the UI API: a turn's events as frames, and what happens to sessions.

Begin with `_frames` (the translator), then `_resume` (attaching to a turn again).
"""
