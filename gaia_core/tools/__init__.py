"""Tools: frozen values that say what an agent can do, and the algebra that composes them.

| module | what lives there |
|---|---|
| `_type_shape` | one level of a type's structure |
| `_json_schema` | types → JSON schema |
| `_signature` | a function's parameters, and its annotations before they are evaluated |
| `_suggestion` | the nearest valid name |
| `_argument_errors` | everything that is wrong with arguments, in words |
| `_argument_repair` | texts that stand for numbers, booleans, arrays and objects |
| `_parameters` | signature → the type that is described, decoded and validated; `doc` |
| `_answer_type` | a type as the form of a final text |
| `_context` | what a running tool is given |
| `_resource` | recipes of what tools work on |
| `_tool` | `Tool` and `@tool` |
| `_toolset` | `Toolset` and its algebra |
| `_toolset_source` | toolsets that have to be asked for |
| `_tool_index` | which of many tools fit some words |
| `_diff` | what changed between two versions |
"""

from gaia_core.tools._answer_type import AnswerType, answer_type
from gaia_core.tools._context import Context
from gaia_core.tools._diff import Change, Difference, diff
from gaia_core.tools._parameters import Parameters, doc
from gaia_core.tools._resource import Recipe, Scope, resource
from gaia_core.tools._suggestion import nearest
from gaia_core.tools._tool import EFFECTS, Effect, Tool, ToolDefinition, define, tool
from gaia_core.tools._tool_index import ToolIndex
from gaia_core.tools._toolset import Bound, Toolset, effects_text
from gaia_core.tools._toolset_source import Live, Source

__all__ = [
    "EFFECTS",
    "AnswerType",
    "Bound",
    "Change",
    "Context",
    "Difference",
    "Effect",
    "Live",
    "Parameters",
    "Recipe",
    "Scope",
    "Source",
    "Tool",
    "ToolDefinition",
    "ToolIndex",
    "Toolset",
    "answer_type",
    "define",
    "diff",
    "doc",
    "effects_text",
    "nearest",
    "resource",
    "tool",
]
