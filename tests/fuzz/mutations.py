"""Changes that know a little of a format, beside the fuzzer's own changes of bytes.

Random bytes in a zip archive end at its checksum, and in XML or YAML mostly at the first bracket;
these changes go on to what lies behind. Each takes the bytes, the fuzzer's own change of bytes and
a source of randomness that the fuzzer seeds, so that a run can be repeated.
"""

import io
import re
import stat
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import TypeVar

from numpy.random import Generator

from stages.extract.archives import DAMAGE

Thing = TypeVar("Thing")
Change = Callable[[bytes], bytes]
Mutation = Callable[[bytes, Change, Generator], bytes]

BYTES_SHARE = 0.3  # of changes that leave the format to luck

XML_VALUE = re.compile(rb'"[^"<]*"')
XML_TAG = re.compile(rb"<[^>]*>")
XML_ELEMENT = re.compile(rb"<(Region|Vertices|Vertex|Annotation)\b.*?(?:/>|</\1>)", re.DOTALL)
XML_VALUES = [
    *(b"0", b"-0.0", b"0.5", b"2.5", b"36.999999999", b"-1e-300", b"1e5", b"-100000", b"1e308"),
    *(b"100000.1", b"NaN", b"inf", b"-Infinity", b"", b" 7 ", b"1_0", b"0x1", b"\xd9\xa3"),
]

YAML_VALUE = re.compile(rb"(?<=[:\[,-] )[^\n,\]\[{}#]+")
YAML_VALUES = [
    *(b"0", b"-1", b"1.5", b"1e400", b".nan", b"-.inf", b"null", b"true", b"[]", b"{}", b"''"),
    *(b"[[[]]]", b"{a: 1}", b"&a [*a]", b"*a", b"2001-99-99", b"!!int x", b"!!float x", b"0x"),
    *(b"!!binary '*'", b"!!timestamp x", b"9" * 400, b"'\\ud800'", b"yes", b"1_0", b"!x y"),
]

MEMBER_NAMES = [
    *("x.tif", "x.xml", "X.TIF", "x.png", "x_bin_mask.png", "test/x.tif", "train/x.xml"),
    *("../x.tif", "/x.tif", "C:\\x.tif", "a\\..\\x.xml", "", ".", "/", "a//x.tif", "organs.csv"),
    *("__MACOSX/x.tif", "x" * 250 + ".tif", "x\n.tif", "x\0y.tif", "e\u0301.tif", "\u00e9.xml"),
    *("CON.tif", "x .tif", "x..tif", "TCGA-18-5592.tif", "GroundTruth/x.png", "_mask.png"),
]
MEMBER_KINDS = [0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO]
COMPRESSIONS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def xml(content: bytes, change: Change, random: Generator) -> bytes:
    """Another value of an attribute, or a tag or element doubled, dropped or moved."""
    if random.random() < BYTES_SHARE:
        return change(content)
    pattern = _one_of([XML_VALUE, XML_VALUE, XML_TAG, XML_ELEMENT], random)
    if pattern is XML_VALUE:
        return _replaced(content, pattern, b'"' + _one_of(XML_VALUES, random) + b'"', random)
    return _moved(content, pattern, random)


def yaml(content: bytes, change: Change, random: Generator) -> bytes:
    """Another value of a key, or a line doubled, dropped or moved."""
    if random.random() < BYTES_SHARE:
        return change(content)
    if random.random() < 0.7:
        return _replaced(content, YAML_VALUE, _one_of(YAML_VALUES, random), random)
    return _moved(content, re.compile(rb"[^\n]*\n"), random)


def archive(content: bytes, change: Change, random: Generator) -> bytes:
    """Another content, name, kind or number of members, packed again with true checksums."""
    members = _members(content)
    if not members or random.random() < BYTES_SHARE:
        return change(content)
    place = int(random.integers(len(members)))
    info, inside = members[place]
    kind = random.integers(8)
    if kind == 0:
        info.filename = _one_of(MEMBER_NAMES, random)
    elif kind == 1:
        renamed = change(info.filename.encode())[:300]
        info.filename = renamed.decode("utf-8", "replace")
    elif kind == 2:
        info.external_attr = (_one_of(MEMBER_KINDS, random) | 0o777) << 16
    elif kind == 3:
        info.compress_type = _one_of(COMPRESSIONS, random)
    elif kind == 4:
        members.insert(int(random.integers(len(members) + 1)), members[place])
    elif kind == 5:
        del members[place]
    elif info.filename.lower().endswith(".xml"):
        members[place] = (info, xml(inside, change, random))
    else:
        members[place] = (info, change(inside))
    return _packed(members)


def _one_of(things: Sequence[Thing], random: Generator) -> Thing:
    return things[random.integers(len(things))]


def _replaced(content: bytes, pattern: re.Pattern[bytes], value: bytes, random: Generator) -> bytes:
    found = list(pattern.finditer(content))
    if not found:
        return content + value
    match = _one_of(found, random)
    return content[: match.start()] + value + content[match.end() :]


def _moved(content: bytes, pattern: re.Pattern[bytes], random: Generator) -> bytes:
    found = list(pattern.finditer(content))
    if not found:
        return content
    match, place = _one_of(found, random), _one_of(found, random).start()
    if random.random() < 0.4:
        return content[: match.start()] + content[match.end() :]
    return content[:place] + match.group() + content[place:]


def _members(content: bytes) -> list[tuple[zipfile.ZipInfo, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            return [(_copied(info), file.read(info)) for info in file.infolist()]
    except DAMAGE:
        return []


def _copied(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    # Without the flags, sizes and offsets of the old archive.
    made = zipfile.ZipInfo(info.filename)
    made.external_attr, made.compress_type = info.external_attr, info.compress_type
    return made


def _packed(members: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as file:
        warnings.simplefilter("ignore")  # that a name stands there twice is meant
        for info, inside in members:
            file.writestr(_copied(info), inside)
    return stream.getvalue()
