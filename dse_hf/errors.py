"""The wording of errors: one line that says what is wrong and what to do."""

import errno


def one_line(error: BaseException | str, most: int | None = None) -> str:
    """The text of an error without line breaks, at most `most` characters; its class name if it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    if most is not None and len(text) > most:
        text = f"{text[: most - 2]} …"
    return text


def describe_os_error(error: OSError) -> str:
    """Says what went wrong with a file, and what to do."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder; check the name"
    if isinstance(error, IsADirectoryError):
        return "is a folder; name the files in it, such as FOLDER/*.wav"
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return "a file stands where a folder is needed; choose another name"
    if isinstance(error, PermissionError):
        return "permission denied; check its rights and those of its folder"
    if error.errno == errno.ENAMETOOLONG:
        return "the name is too long for the file system; choose a shorter one"
    return f"{(error.strerror or str(error)).lower()}; check the disk"
