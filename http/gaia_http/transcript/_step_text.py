"""The text of the step that runs: what of it was sent, and what is new when it comes once more, live or whole."""


class StepText:
    """One kind of text (the answer, or reasoning) of the current step, as one stream has sent it."""

    __slots__ = ("_again", "_length", "_seen", "_sent", "conflict")

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._length = self._seen = 0
        self._again = False
        self.conflict = False
        """What was sent is no beginning of the text that came afterwards: another process has asked the model again."""

    def begin(self) -> None:
        """A step begins."""
        self._sent = []
        self._length = self._seen = 0
        self._again = False

    def again(self) -> None:
        """The step's text comes once more, from its beginning."""
        self._seen = 0
        self._again = True

    def more(self, text: str) -> str:
        """What is new in the delta *text*."""
        new = text
        if (old := self._length - self._seen) > 0:
            sent = "".join(self._sent)[self._seen : self._seen + len(text)]
            if not text.startswith(sent):
                self.conflict = True
                return ""
            new = text[old:]
        self._seen += len(text)
        if new:
            self._sent.append(new)
            self._length += len(new)
        return new

    def rest(self, whole: str) -> str:
        """What is left of the *whole* text; "" if it does not begin with what was sent."""
        if whole.startswith("".join(self._sent)):
            return whole[self._length :]
        self.conflict = self.conflict or self._again
        return ""
