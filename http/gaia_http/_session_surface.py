"""How a session says that another surface than the page made it: in its metadata, which lists look at."""

RESPONSES = "responses"
"""The surface of sessions that clients of the Responses API made."""

MARK = b'"surface":"responses"'
"""What the metadata of these has."""
