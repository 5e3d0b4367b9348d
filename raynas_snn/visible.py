"""Text from outside, made fit for a screen: a file may be named so as to move the cursor or hide what follows."""


def visible(text: str) -> str:
    """Returns ``text`` on one line; whatever a terminal would obey, hide or turn around is written as an escape."""
    line = " ".join(text.splitlines())
    if line.isprintable():
        return line
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in line
    )
