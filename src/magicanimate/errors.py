"""The one exception that is the user's business."""


class InputError(ValueError):
    """Bad input or settings. Its message is one sentence: what is wrong and what to do about it."""
