"""The fuzzers' contracts without a fuzzer: on seeds, on what was found once, on a few mutations."""

import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator

from tests.fuzz import contracts, mutations, seeds

Check = Callable[[bytes], str]


def document(regions: bytes) -> bytes:
    return (
        b"<Annotations><Annotation><Regions>" + regions + b"</Regions></Annotation></Annotations>"
    )


@pytest.mark.parametrize("content", seeds.annotations())
def test_seeds_of_annotations_are_read(content: bytes) -> None:
    assert contracts.annotation(content) == "read"


def test_seeds_of_archives_are_read_but_for_those_that_may_not_be() -> None:
    outcomes = [contracts.archive(content) for content in seeds.archives()]
    assert outcomes[:-2] == ["refused", *["read"] * 6]  # the first one is empty
    assert outcomes[-2:] == ["refused", "refused"]  # greyscale in bzip2, and LZMA


def test_seeds_of_params_are_refused_but_the_whole() -> None:
    whole, *parts = seeds.params()
    assert contracts.params(whole) == "read"
    assert {contracts.params(content) for content in parts} == {"refused"}


STORED = zipfile.ZIP_STORED
# Of a local header, up to its name's length.
HEADER_OF_5000 = seeds.pack({"a.tif": b""}, STORED)[:26] + (5000).to_bytes(2, "little")

# What fuzzers found, each made small: it raised something else, or said more than one line.
FOUND: dict[str, tuple[Check, bytes]] = {
    "a region inside another": (contracts.annotation, document(b"<Region><Region/></Region>")),
    "a root element of a long name": (contracts.annotation, b"<" + b"a" * 5000 + b"/>"),
    "a member's name that differs in its header": (
        contracts.archive,
        HEADER_OF_5000 + seeds.pack({"a.tif": bytes(6000), "a.xml": b""}, STORED)[28:],
    ),
    "a path of 5,000 characters": (contracts.archive, seeds.pack({"a" * 5000: b""})),
    "a line end in the name of a member": (
        contracts.archive,
        seeds.pack({"b.tif": b"", "a\n.tiG": b"", "b_bin_mask.png": b""}),
    ),
    "a date that is none": (contracts.params, b"baseline:\n  sigma: 2001-99-99\n"),
    "an integer that is none": (contracts.params, b"z: !!int x[\n"),
    "a message with an excerpt": (contracts.params, b"? [x, 0]\n? [x, 0]\n: |\n  {ext\n"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_refused_in_one_line(name: str) -> None:
    check, content = FOUND[name]
    assert check(content) == "refused"


@pytest.mark.parametrize(
    ("check", "mutation", "starts"),
    [
        (contracts.annotation, mutations.xml, seeds.annotations()),
        (contracts.archive, mutations.archive, seeds.archives()),
        (contracts.params, mutations.yaml, seeds.params()[1:]),
    ],
    ids=["annotations", "archives", "params"],
)
def test_changed_seeds_are_read_or_refused(
    check: Check, mutation: mutations.Mutation, starts: list[bytes]
) -> None:
    generator = np.random.default_rng(1)
    outcomes = set()
    for number in range(120):
        content = starts[number % len(starts)]
        for _ in range(generator.integers(1, 5)):
            content = mutation(content, lambda part: one_byte_changed(part, generator), generator)
        outcomes.add(check(content))
    assert "refused" in outcomes


def one_byte_changed(content: bytes, generator: Generator) -> bytes:
    changed = bytearray(content or b"\0")
    changed[generator.integers(len(changed))] = generator.integers(256)
    return bytes(changed)
