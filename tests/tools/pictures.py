"""Pictures made without the code under test."""

import struct
import zlib


def png(image):
    """A PNG file of an array H x W (grey) or H x W x 3 (blue, green, red), uint8."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = image.shape[:2]
    color_type = 0 if image.ndim == 2 else 2
    rows = image if image.ndim == 2 else image[:, :, ::-1]
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
