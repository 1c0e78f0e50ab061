"""How errors are worded: one line that names what is wrong and the next step."""


def one_line(error: BaseException | str, most: int | None = None) -> str:
    """The error's text without line breaks, cut to `most` characters if given; its class's name if it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    if most is not None and len(text) > most:
        text = f"{text[: most - 2]} …"
    return text


def describe_os_error(error: OSError) -> str:
    """What went wrong with a file, and the next step."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder; check the name"
    if isinstance(error, IsADirectoryError):
        return "is a folder; name the files in it, such as FOLDER/*.wav"
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return "a file stands where a folder is needed; choose another name"
    if isinstance(error, PermissionError):
        return "permission denied; check its rights and those of its folder"
    return f"{(error.strerror or str(error)).lower()}; check the disk"
