"""Parameters of H.264 that say how large the pictures are. Source: ITU-T H.264, 7.3.2.1.1 and 9.1.

In: width and height. Out: a sequence parameter set.
"""


def _ue(value: int) -> str:
    """An unsigned Exp-Golomb code, as binary digits."""
    digits = bin(value + 1)[2:]
    return "0" * (len(digits) - 1) + digits


def sps(width: int, height: int) -> bytes:
    """A baseline sequence parameter set of the video's size in whole macroblocks, at least one each way."""
    across, down = max(1, -(-width // 16)), max(1, -(-height // 16))
    # id, frame numbers, order by frame number, one reference, no gaps, size, whole frames, direct 8 × 8, no
    # cropping, no VUI
    bits = (
        _ue(0)
        + _ue(0)
        + _ue(2)
        + _ue(1)
        + "0"
        + _ue(across - 1)
        + _ue(down - 1)
        + "1"
        + "1"
        + "0"
        + "0"
        + "1"
    )
    bits += "0" * (-len(bits) % 8)
    payload = bytes((66, 0, 62)) + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\x67" + payload.replace(b"\x00\x00\x00", b"\x00\x00\x03\x00").replace(
        b"\x00\x00\x01", b"\x00\x00\x03\x01"
    )
