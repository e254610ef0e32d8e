# ruff: noqa: INP001, E501 - a script; one line a row of logos
"""Draw the stacks' logos: a coloured shape with two strokes' letters; ours, and nobody's trademark.

Run as ``python docs/make_logos.py`` (needs numpy); writes the SVG and both PNG files of each stack from the same lines.
"""

from __future__ import annotations

import math
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np

STACKS = Path(__file__).parents[1] / "kernelspecs"
LOGOS = {
    "alice": ("AL", "#b3261e", "circle"), "atlas": ("AT", "#1f5fa8", "square"), "belle2": ("B2", "#6a3fa0", "hexagon"),
    "cms": ("CM", "#c2570c", "circle"), "computecanada": ("CC", "#8a1538", "diamond"), "dune": ("DU", "#b8860b", "hexagon"),
    "eessi": ("EE", "#00695c", "square"), "eic": ("EI", "#2e7d32", "circle"), "fermilab": ("FN", "#37474f", "square"),
    "icecube": ("IC", "#0277bd", "hexagon"), "igwn": ("GW", "#283593", "circle"), "key4hep": ("K4", "#ad1457", "diamond"),
    "lcg": ("LC", "#455a64", "circle"), "lhcb": ("LH", "#00838f", "diamond"), "lmod": ("LM", "#5d4037", "square"),
    "lsst": ("LS", "#4527a0", "circle"), "osg-modules": ("OM", "#9e6a00", "diamond"), "sphenix": ("SP", "#d84315", "hexagon"),
}  # fmt: skip
SIZE = 64.0
GLYPHS = {
    "2": "0,1 1,0 3,0 4,1 4,2 0,6 4,6", "4": "3,6 3,0 0,4 4,4", "A": "0,6 2,0 4,6|0.8,4 3.2,4",
    "B": "0,0 0,6 3,6 4,5 4,4 3,3 0,3|0,0 3,0 4,1 4,2 3,3", "C": "4,1 3,0 1,0 0,1 0,5 1,6 3,6 4,5",
    "D": "0,0 0,6 2.6,6 4,4.6 4,1.4 2.6,0 0,0", "E": "4,0 0,0 0,6 4,6|0,3 3,3", "F": "4,0 0,0 0,6|0,3 3,3",
    "G": "4,1 3,0 1,0 0,1 0,5 1,6 3,6 4,5 4,3.4 2.4,3.4", "H": "0,0 0,6|4,0 4,6|0,3 4,3", "I": "1,0 3,0|2,0 2,6|1,6 3,6",
    "K": "0,0 0,6|4,0 0,3.4|1.4,2.4 4,6", "L": "0,0 0,6 4,6", "M": "0,6 0,0 2,3 4,0 4,6", "N": "0,6 0,0 4,6 4,0",
    "O": "1,0 3,0 4,1 4,5 3,6 1,6 0,5 0,1 1,0", "P": "0,6 0,0 3,0 4,1 4,2.4 3,3.4 0,3.4", "S": "4,1 3,0 1,0 0,1 0,2 1,3 3,3 4,4 4,5 3,6 1,6 0,5",
    "T": "0,0 4,0|2,0 2,6", "U": "0,0 0,5 1,6 3,6 4,5 4,0", "W": "0,0 1,6 2,2 3,6 4,0",
}  # fmt: skip
CORNERS = {"hexagon": (6, 31.0, 0.0), "diamond": (4, 32.0, 0.0)}
STROKE = 4.6


def lines(letters: str, shape: str) -> list[list[tuple[float, float]]]:
    """Return the letters' strokes, in units of a logo of 64 by 64."""
    scale = {"square": 4.6, "circle": 4.2, "hexagon": 3.9, "diamond": 3.5}[shape]
    width = 4 * scale
    gap = 2.0 * scale
    left, top = (SIZE - 2 * width - gap) / 2, (SIZE - 6 * scale) / 2
    found = []
    for at, letter in enumerate(letters):
        for stroke in GLYPHS[letter].split("|"):
            pairs = [tuple(map(float, point.split(","))) for point in stroke.split()]
            found.append([(left + at * (width + gap) + x * scale, top + y * scale) for x, y in pairs])
    return found


def corners(shape: str) -> list[tuple[float, float]]:
    """Return the corners of a regular shape."""
    count, radius, turn = CORNERS[shape]
    angles = [turn + 2 * math.pi * one / count for one in range(count)]
    return [(32 + radius * math.cos(one), 32 + radius * math.sin(one)) for one in angles]


def svg(letters: str, colour: str, shape: str) -> str:
    """Return a logo as SVG."""
    if shape == "circle":
        back = '<circle cx="32" cy="32" r="31"/>'
    elif shape == "square":
        back = '<rect x="2" y="2" width="60" height="60" rx="12"/>'
    else:
        back = f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners(shape))}"/>'
    strokes = " ".join("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in line) for line in lines(letters, shape))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><g fill="{colour}">{back}</g>'
        f'<path d="{strokes}" fill="none" stroke="#fff" stroke-width="{STROKE}" stroke-linecap="round"'
        ' stroke-linejoin="round"/></svg>\n'
    )


def png(letters: str, colour: str, shape: str, size: int) -> bytes:
    """Return a logo as PNG, smoothed by four points a side in each pixel."""
    fine = size * 4
    axis = (np.arange(fine) + 0.5) * SIZE / fine
    x, y = np.meshgrid(axis, axis)
    if shape == "circle":
        inside = (x - 32) ** 2 + (y - 32) ** 2 <= 31**2
    elif shape == "square":
        far = np.hypot(np.maximum(abs(x - 32) - 18, 0), np.maximum(abs(y - 32) - 18, 0))
        inside = far <= 12
    else:
        points = corners(shape)
        edges = zip(points, points[1:] + points[:1], strict=True)
        inside = np.all([(bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0 for (ax, ay), (bx, by) in edges], axis=0)
    ink = np.zeros_like(inside)
    for line in lines(letters, shape):
        for (ax, ay), (bx, by) in pairwise(line):
            length = (bx - ax) ** 2 + (by - ay) ** 2
            along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1)
            ink |= np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)) <= STROKE / 2
    base = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    whole = np.zeros((fine, fine, 4))
    whole[inside] = [*base, 255]
    whole[inside & ink] = 255
    blocks = whole.reshape(size, 4, size, 4, 4)
    alpha = blocks[..., 3:]
    shade = (blocks[..., :3] * alpha).sum((1, 3)) / np.maximum(alpha.sum((1, 3)), 1)
    pixels = np.concatenate([shade, alpha.mean((1, 3))], axis=2).round().astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def main() -> None:
    """Write all logos."""
    for name, logo in LOGOS.items():
        folder = STACKS / name
        (folder / "logo-svg.svg").write_text(svg(*logo))
        for size in (32, 64):
            (folder / f"logo-{size}x{size}.png").write_bytes(png(*logo, size))


if __name__ == "__main__":
    main()
