"""Refused options: what an endpoint doesn't know is left out of requests to it, once it was refused."""

import logging
from collections.abc import Mapping

import msgspec

from gaia_core.models._protocol import ModelError, ModelRequest
from gaia_core.models.endpoint._known_errors import refused_option
from gaia_core.models.endpoint._request_body import request_body
from gaia_core.nesting import decode_json

_log = logging.getLogger(__name__)

_STATUSES = frozenset((400, 422))


class RefusedOptions:
    """Of one endpoint, whose URL *base* is named in the log."""

    __slots__ = ("_base", "renamed")

    def __init__(self, base: str) -> None:
        self._base = base
        self.renamed: dict[str, str] = {}
        """The refused options, each with the name under which it is sent since ("": it is left out). Written by
        `learn`, from the task of any request."""

    def learn(self, error: ModelError, request: ModelRequest, sent: Mapping[str, str]) -> str:
        """What is done about *error*, in words: an option is left out or sent under another name. "" when the error
        refuses no such option of *request*. *sent*: `renamed` when the request was sent."""
        if error.status not in _STATUSES:
            return ""
        members = frozenset(decode_json(request_body(request, "", "{}", sent), dict[str, msgspec.Raw]))
        refused = refused_option(str(error), members)
        if refused is None or refused[1] in sent:  # under neither name
            return ""
        option, instead = refused
        what = f"{option} is sent as {instead}" if instead else f"{option} is left out"
        if option not in self.renamed:
            self.renamed[option] = instead
            _log.warning("%s refuses an option; from now on %s: %s", self._base, what, error)
        return what
