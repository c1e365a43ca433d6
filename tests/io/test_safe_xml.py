"""XML: what is taken out of it, and what is refused before it can do harm."""

import pytest

from merit_hf.io.safe_xml import base64_bytes, number, parse_xml, root_name, text_of


def written(folder, text, encoding="utf-8"):
    path = folder / "x.xml"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ("", "utf-8"),
        ("<?xml version='1.0' encoding='UTF-8'?>", "utf-8-sig"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?>", "latin-1"),
        ("<?xml version='1.0' encoding='windows-1252'?>", "cp1252"),
        ("<?xml version='1.0' encoding='utf-16'?>", "utf-16"),
        ("<?xml version='1.0' encoding='UTF-16'?>", "utf-8"),  # saved anew by a program that left the first line
    ],
)
def test_text_in_the_encodings_that_devices_use(tmp_path, declaration, encoding):
    path = written(
        tmp_path, f"{declaration}<!-- <b/> --><p:a xmlns:p='urn:x' p:kind='k'><b> Müller </b></p:a>", encoding
    )
    document = parse_xml(path)
    assert (document.tag, document.get("kind"), text_of(document, "b")) == ("a", "k", "Müller")
    assert text_of(document, "c") is None
    assert root_name(path, path.read_bytes()[:4096]) == "a"


def test_the_root_is_found_behind_a_long_comment(tmp_path):
    path = written(tmp_path, f"<!--{'long ' * 2000}--><root/>")
    assert root_name(path, path.read_bytes()[:4096]) == "root"
    assert root_name(tmp_path / "x.bin", b"\x00\x01<root/>") is None
    assert root_name(tmp_path / "x.txt", b"1 < 2") is None


LAUGHS = "".join(f'<!ENTITY l{at + 1} "{f"&l{at};" * 10}">' for at in range(9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"<!DOCTYPE a [<!ENTITY l0 'lol'>{LAUGHS}]><a>&l9;</a>", "declares entities"),
        ("<!DOCTYPE a [<!ENTITY e SYSTEM 'secret.txt'>]><a>&e;</a>", "declares entities"),
        ("<!DOCTYPE a [<!ENTITY % e SYSTEM 'secret.txt'> %e;]><a/>", "declares entities"),
        ("<!DOCTYPE a [<!ATTLIST a x CDATA 'long'>]><a/>", "declares entities"),
        ("<!DOCTYPE a SYSTEM 'secret.dtd'><a>&e;</a>", "entity"),
        ("<a>&e;</a>", "not well-formed at line 1"),
        ("<a>" * 1000 + "</a>" * 1000, "nested more than 200 deep"),
        ("<a><b></a>", "not well-formed at line 1, column 9"),
        ("<a>", "not well-formed at line 1"),
        ("", "not well-formed at line 1"),
        ("<?xml version='1.0' encoding='no-such'?><a/>", "encoding 'no-such' is unknown"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secret.dtd").write_text("<!ENTITY e 'secret'>")
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        parse_xml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb2312", "正常心电图"),
        ("GBK", "正常心電圖"),
        ("gb18030", "正常心电图"),
        ("Big5", "正常心電圖"),
        ("Shift_JIS", "正常心電図"),
        ("EUC-JP", "正常心電図"),
        ("EUC-KR", "정상 심전도"),
        ("iso-8859-1", "Frühere Überleitung µV"),
        ("utf-8", "窦性心律"),
    ],
)
def test_encodings_of_devices_all_over_the_world(tmp_path, encoding, text):
    (tmp_path / "x.xml").write_bytes(f'<?xml version="1.0" encoding="{encoding}"?><a>{text}</a>'.encode(encoding))
    assert parse_xml(tmp_path / "x.xml").text == text


@pytest.mark.parametrize("declared", ['<?xml version="1.0" encoding="UTF-8"?>', '<?xml version="1.0"?>', ""])
def test_latin_1_that_is_declared_as_utf_8(tmp_path, declared):
    (tmp_path / "x.xml").write_bytes(f"{declared}<a>Linksschenkelblock möglich, µV</a>".encode("latin-1"))
    assert parse_xml(tmp_path / "x.xml").text == "Linksschenkelblock möglich, µV"


def test_a_doctype_that_names_a_file_is_passed_over(tmp_path):
    (tmp_path / "restecg.dtd").write_text("<!ENTITY e 'secret'><!ATTLIST a x CDATA 'secret'>")
    document = parse_xml(written(tmp_path, "<!DOCTYPE a SYSTEM 'restecg.dtd'><a>&amp;</a>"))
    assert (document.attrib, document.text) == ({}, "&")


def test_numbers_and_bytes():
    assert number("f", "rate", " 2.5e2 ") == 250
    assert base64_bytes("f", "data", "AQ\n ID BA") == bytes([1, 2, 3, 4])
    for text in ("x", "nan", "inf", None):
        with pytest.raises(ValueError, match="f: rate is .* expected a number"):
            number("f", "rate", text)
    for text in ("", None, "A", "A*ID", "ÄQID"):
        with pytest.raises(ValueError, match="f: data is"):
            base64_bytes("f", "data", text)
