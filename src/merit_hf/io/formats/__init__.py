"""One file here is one file format, found by scanning this folder; nothing else has to know of it.

A format file offers

- `NAME: str`, as it is shown to people,
- `EXTENSIONS: tuple[str, ...]`, lower case with the dot; a hint for error messages, never what decides,
- `matches(path: Path, head: bytes) -> bool`: is this file of this format? Decides by content; `head` is the file's
  beginning (empty if `path` is no file, as a WFDB record named without extension),
- `read(path: Path, *, <options>) -> EcgRecord`: keyword-only options, each with a default; `ValueError` in one line if
  it cannot.

- `ASKED_LAST: bool` (optional): the format would take files of other formats, too, and is asked after them.

A file for several formats offers `FORMATS`, a tuple of objects with these names. Packages that only one format needs are imported inside its `read`, so that scanning needs none of them.
"""
