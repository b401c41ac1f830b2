"""A session's own configuration: what its metadata adds to its agent, for each process that continues it.

Metadata is a surface's own JSON, and two of its keys are the agent's: `system_prompt` is joined to its instructions,
`model` names another model of the catalog. A turn that is taken over after a crash, and every surface that opens the
session, get the same agent by it.
"""

import attrs
import msgspec

from gaia_core.agent import Agent
from gaia_core.catalog import Catalog
from gaia_core.journal import SessionInfo


class _SessionConfiguration(msgspec.Struct, frozen=True, gc=False):
    system_prompt: str | None = None
    model: str | None = None


_decoder = msgspec.json.Decoder(_SessionConfiguration)


def configured(catalog: Catalog, info: SessionInfo, agent: str | None = None) -> Agent:
    """The agent that the session talks to, as it is configured there; *agent*: another one's name.

    A model that the catalog doesn't have is not used. Raises NotFoundError for an agent that isn't there.
    """
    found = catalog.agent(agent or info.agent)
    try:
        own = _decoder.decode(info.metadata)
    except msgspec.DecodeError:  # another surface's, which means something else by these names
        return found
    if own.system_prompt and (extra := own.system_prompt.strip()):
        joined = "\n\n".join(text for text in (found.instructions.strip(), extra) if text)
        found = attrs.evolve(found, instructions=joined)
    if own.model and own.model != found.model and any(own.model == spec.name for spec in catalog.models):
        found = attrs.evolve(found, model=own.model)
    return found
