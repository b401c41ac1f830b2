"""The page: a built single-page client, served at `/` beside the APIs.

Owns the serving of static files and their headers. May import `door`.
"""
