"""Signatures: a function's parameters, and its annotations before they are evaluated.

From Python 3.14 on, annotations are evaluated when somebody asks for them (PEP 649). A name that only type checkers
know then fails here, not where the function is defined; so they are asked for in the form that keeps such names.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 14):
    import annotationlib

    _UNEVALUATED = annotationlib.Format.FORWARDREF

    def signature_of(function: Callable[..., Any]) -> inspect.Signature:
        """The parameters of *function*, for their names, kinds and defaults."""
        return inspect.signature(function, annotation_format=_UNEVALUATED)

    def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
        """The annotations of *function* by name: types, and strings or `ForwardRef`s for what is not evaluated."""
        return annotationlib.get_annotations(function, format=_UNEVALUATED)

else:

    def signature_of(function: Callable[..., Any]) -> inspect.Signature:
        """The parameters of *function*, for their names, kinds and defaults."""
        return inspect.signature(function)

    def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
        """The annotations of *function* by name: types, and strings for what is not evaluated."""
        return inspect.get_annotations(function)
