"""The exceptions that are the user's business."""


class InputError(ValueError):
    """Bad input or settings. Its message is one sentence: what is wrong and what to do about it."""


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of a library's message, for the inside of a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:most].rstrip(". ")


class NobodyFound(InputError):
    """No person was found where one was looked for."""
