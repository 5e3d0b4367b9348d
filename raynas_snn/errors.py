"""What a user sees when something is wrong: one line, and an exit code that scripts can rely on."""

EXIT_DONE = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_TRIALS_FAILED = 3
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A mistake the user can mend; the message is one line that says what, where, and what would be right."""
