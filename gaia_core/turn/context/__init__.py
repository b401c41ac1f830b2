"""What a model is shown of a conversation: the transcript, and the part of it that fits the window.

Begin with `_transcript`, then `_context_window` (what is sent) and `_compaction`.
"""
