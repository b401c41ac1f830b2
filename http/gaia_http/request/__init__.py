"""What every wire protocol reads from a request, whatever its shape.

Owns content parts, uploaded files, PDF text and the guarded fetching of URLs. The checks take the path of the value in
the request as an argument, so that each API names its own fields. Imports no wire protocol.
Begin with `_content_parts`.
"""
