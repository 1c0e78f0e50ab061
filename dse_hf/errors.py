"""The wording of errors: one line that says what is wrong and what to do."""

from .models.audio_files import describe_os_error


__all__ = ["describe_os_error", "one_line"]


def one_line(error: BaseException | str, most: int | None = None) -> str:
    """The text of an error without line breaks, at most `most` characters; its class name if it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    if most is not None and len(text) > most:
        text = f"{text[: most - 2]} …"
    return text
