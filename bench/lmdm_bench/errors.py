"""The two errors that are the user's to solve; the command ends with exit code 2 on either."""


class InputError(ValueError):
    """Something given cannot be used: a file, a number, a name. The message is one sentence."""


class UnsupportedError(ValueError):
    """This machine cannot do what was asked. The message says what was asked and what is here."""
