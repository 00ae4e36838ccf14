"""Cursors from the outside, as src/codec/cursor.h has them, for tests that make their own."""
import base64
import random
import struct
import zlib


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _take_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


class Cursor:
    """tag of the cluster, highest stamp, {stream: seq}."""

    def __init__(self, text):
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        assert zlib.crc32(data[:-4]) == struct.unpack(">I", data[-4:])[0]
        self.tag = data[1:5]
        self.stamp, at = _take_varint(data, 5)
        count, at = _take_varint(data, at)
        self.marks = {}
        for _ in range(count):
            (stream,) = struct.unpack_from(">Q", data, at)
            self.marks[stream], at = _take_varint(data, at + 8)

    def text(self):
        data = b"\1" + self.tag + varint(self.stamp) + varint(len(self.marks))
        for stream in sorted(self.marks):
            data += struct.pack(">Q", stream) + varint(self.marks[stream])
        data += struct.pack(">I", zlib.crc32(data))
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def strange(count, seed=1):
    """Marks of streams that no broker here has ever heard of."""
    rng = random.Random(seed)
    return {rng.randrange(1, 1 << 63): rng.randrange(1, 1 << 40) for _ in range(count)}
