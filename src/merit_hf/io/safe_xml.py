"""XML files of ECG devices, parsed without following anything they declare: no entities, no external files.

Parsing and taking text, numbers and bytes out of elements live here; what the elements of a format mean does not.
"""

import base64
import binascii
import re
from os import PathLike
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from .numbers import read_number

# No format of an ECG comes near; a file that does is made to exhaust memory.
_DEEPEST = 200
_LONGEST_PROLOGUE = 1 << 18
_BLANKS = b" \t\r\n"
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_FIRST_ELEMENT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)[\s/>]")
_ENCODING = re.compile(rb"^(?:\xef\xbb\xbf)?<\?xml[^>]*encoding\s*=\s*[\"']([A-Za-z0-9._:-]+)")
# Encodings of several bytes a character, which the parser does not know, each with the widest codec of its family.
_CODECS = {
    **dict.fromkeys(("gb2312", "gbk", "gb18030", "cp936", "euc-cn", "x-gbk"), "gb18030"),
    **dict.fromkeys(("big5", "big5-hkscs", "cp950"), "big5hkscs"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis", "windows-31j", "cp932", "ms932"), "cp932"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "cp949", "uhc"), "cp949"),
    **dict.fromkeys(("euc-jp", "iso-2022-jp"), "euc_jp"),
}


def root_name(path: Path, head: bytes) -> str | None:
    """Name of a file's root element, without its prefix; None if this does not begin like XML.

    Args:
        path: the file, read further only where a long comment comes first.
        head: its beginning.
    """
    text = _decoded(head)
    if not text.startswith("<"):
        return None
    found = _first_element(text)
    if found is None and path.is_file():
        with path.open("rb") as file:
            found = _first_element(_decoded(file.read(_LONGEST_PROLOGUE)))
    return found


def parse_xml(path: str | PathLike[str]) -> Element:
    """Parses a file; names of elements and attributes come without their prefix.

    Raises:
        ValueError: the file is not well-formed, or its DOCTYPE declares anything itself, such as entities. A DOCTYPE
            that only names an external file is passed over, and that file is never opened.
    """
    content = Path(path).read_bytes().lstrip(_BLANKS)  # some programs write a line break before the declaration
    if b"\0" not in content[:4]:  # it is not UTF-16
        content = content.rstrip(_BLANKS + b"\0")  # some fill up a block
    content, encoding = _recoded(content)
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    builder = TreeBuilder()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"elements nested more than {_DEEPEST} deep")
        builder.start(_local(name), {_local(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    def doctype(name: str, system: str | None, public: str | None, has_declarations: int) -> None:
        if has_declarations:
            raise ValueError("its DOCTYPE declares entities or other markup, which is not followed")

    def refuse(*what: object) -> NoReturn:
        raise ValueError("it refers to an entity that it would have to declare or load")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.SkippedEntityHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(
            f"{path} cannot be read as XML: it is not well-formed at line {error.lineno}, column {error.offset + 1}; "
            "cut off or damaged"
        ) from error
    except LookupError:  # an encoding that does not exist
        declared = _ENCODING.match(content)
        stated = declared[1].decode("latin-1")[:40] if declared else "none"
        raise ValueError(
            f"{path} cannot be read as XML: its encoding {stated!r} is unknown; save it as UTF-8"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as XML: {error}") from None
    return builder.close()


def _recoded(content: bytes) -> tuple[bytes, str | None]:
    """Content that the parser can read, and the encoding to force upon it, None for the one that it declares."""
    found = _ENCODING.match(content)
    declared = found[1].decode("ascii").lower() if found else ""
    if declared in _CODECS:
        return content.decode(_CODECS[declared], "replace").encode("utf-8"), "utf-8"
    if declared.startswith("utf-16") or (declared in ("", "utf-8", "utf8") and content[:1] == b"<"):
        # Files re-saved as UTF-8 keep the declaration of UTF-16 that the device wrote; others hold Latin-1 throughout.
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return content.decode("cp1252", "replace").encode("utf-8"), "utf-8"
        return content, "utf-8"
    return content, None


def text_of(element: Element | None, at: str = ".") -> str | None:
    """Text of the element found `at` a path below `element`; None where there is no such element, or no text in it."""
    found = None if element is None else element.find(at)
    return None if found is None else "".join(found.itertext()).strip() or None


def number(path: str | PathLike[str], name: str, text: str | None) -> float:
    """The finite number written in `text`; ValueError with `name`, the field it stands in, if there is none."""
    value = read_number(text)
    if value is None:
        raise ValueError(f"{path}: {name} is {'missing' if text is None else repr(text[:40])}, expected a number")
    return value


def base64_bytes(path: str | PathLike[str], name: str, text: str | None) -> bytes:
    """Bytes written as base64, in lines or not; ValueError with `name`, the field they stand in, if they are not."""
    packed = "".join((text or "").split()).rstrip("=")
    if not packed:
        raise ValueError(f"{path}: {name} is empty, expected samples as base64")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:  # the latter for characters beyond ASCII
        raise ValueError(f"{path}: {name} is no base64; cut off or damaged") from error


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _decoded(head: bytes) -> str:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head[: len(head) // 2 * 2].decode("utf-16", "replace")
    elif head[:4] == b"<\0?\0":
        text = head[: len(head) // 2 * 2].decode("utf-16-le", "replace")
    else:
        text = head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    return text.lstrip()


def _first_element(text: str) -> str | None:
    found = _FIRST_ELEMENT.search(_COMMENT.sub("", text))
    return found[1] if found else None
