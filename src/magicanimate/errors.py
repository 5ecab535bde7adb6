"""The exceptions that are the user's business."""


class InputError(ValueError):
    """Bad input or settings. Its message is one sentence: what is wrong and what to do about it."""


class NobodyFound(InputError):
    """No person was found where one was looked for."""
