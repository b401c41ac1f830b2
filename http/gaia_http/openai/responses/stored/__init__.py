"""Responses and conversations that are kept in the journal, found by their ids.

Begin with `_stored_responses`; `_request_note` is what is recorded of a request beside its turn.
"""
