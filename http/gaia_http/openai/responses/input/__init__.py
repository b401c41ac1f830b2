"""What a Responses request says: its wire message, items, content and options, as values of the core.

Begin with `_wire`, then `_input_items`.
"""
