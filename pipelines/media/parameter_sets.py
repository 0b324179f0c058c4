"""H.264 and HEVC parameter sets: those that a stream's header gives, and those that come among its packets.

In: extradata and coded packets. Out: sets of NAL units, to see whether a stream changes on its way: an mp4
has room for one header only. Source: ISO/IEC 14496-15, 5.3.3 (avcC) and 8.3.3 (hvcC); ITU-T H.264 and H.265,
7.4.2 and Annex B.
"""

from pipelines.media.random_access import nal_length_bytes, nal_units

_KINDS = {"h264": frozenset((7, 8)), "hevc": frozenset((32, 33, 34))}


def declared_sets(codec: str, extradata: bytes) -> frozenset[bytes]:
    """The parameter sets in a stream's header; none for other codecs."""
    if codec not in _KINDS:
        return frozenset()
    if not nal_length_bytes(codec, extradata):
        return carried_sets(codec, extradata, extradata)
    if codec == "h264":
        units, at = _listed(extradata, 6, extradata[5] & 0x1F)
        more, _ = _listed(extradata, at + 1, int.from_bytes(extradata[at : at + 1]))
        return _only_sets(codec, units + more)
    units, at = [], 23
    for _ in range(int.from_bytes(extradata[22:23])):
        more, at = _listed(extradata, at + 3, int.from_bytes(extradata[at + 1 : at + 3]))
        units += more
    return _only_sets(codec, units)


def carried_sets(codec: str, packet: bytes, extradata: bytes) -> frozenset[bytes]:
    """The parameter sets that a packet brings itself; none for other codecs."""
    if codec not in _KINDS:
        return frozenset()
    return _only_sets(codec, list(nal_units(memoryview(packet), nal_length_bytes(codec, extradata))))


def without_sets(codec: str, packet: bytes, extradata: bytes) -> bytes:
    """A packet of units behind their lengths, without its parameter sets."""
    size = nal_length_bytes(codec, extradata)
    kinds, units = _KINDS[codec], list(nal_units(memoryview(packet), size))
    kept = [unit for unit in units if _kind(codec, unit) not in kinds]
    return packet if len(kept) == len(units) else b"".join(len(unit).to_bytes(size) + unit for unit in kept)


def set_order(codec: str, unit: bytes) -> tuple[int, bytes]:
    """A key that sorts sets so that what is referred to comes first."""
    return _kind(codec, unit), unit


def _listed(extradata: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """So many units, each behind its length in two bytes, and where they end; what was cut off is left
    out."""
    units = []
    for _ in range(count):
        end = at + 2 + int.from_bytes(extradata[at : at + 2])
        units.append(extradata[at + 2 : end])
        at = end
    return [unit for unit in units if unit], at


def _only_sets(codec: str, units: list[bytes]) -> frozenset[bytes]:
    # Zeros behind a unit belong to the next start code, which may have four bytes.
    return frozenset(unit.rstrip(b"\x00") for unit in units if _kind(codec, unit) in _KINDS[codec])


def _kind(codec: str, unit: bytes) -> int:
    """nal_unit_type."""
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F
