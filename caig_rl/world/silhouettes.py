"""How each product category is drawn: flat shapes in a unit square, shaded afterwards. y points down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
Point = tuple[float, float]

CANVAS = 512
"""Side of the drawing surface in pixels."""


class Pen:
    """Paints filled shapes on a transparent square."""

    def __init__(self, main: Colour, accent: Colour) -> None:
        self.main = main
        self.accent = accent
        self.dark: Colour = (int(main[0] * 0.55), int(main[1] * 0.55), int(main[2] * 0.55))
        self.rgb: npt.NDArray[np.uint8] = np.zeros((CANVAS, CANVAS, 3), np.uint8)
        self.alpha: npt.NDArray[np.uint8] = np.zeros((CANVAS, CANVAS), np.uint8)

    def poly(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        pixels = (np.array(points) * CANVAS).astype(np.int32)
        cv2.fillPoly(self.rgb, [pixels], colour)
        cv2.fillPoly(self.alpha, [pixels], (255,))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float = 0.03) -> None:
        """A filled box with rounded corners."""
        steps = np.linspace(0, np.pi / 2, 7)
        centres = (
            (right - radius, top + radius),
            (right - radius, bottom - radius),
            (left + radius, bottom - radius),
            (left + radius, top + radius),
        )
        points = [
            (cx + radius * float(np.sin(a + k * np.pi / 2)), cy - radius * float(np.cos(a + k * np.pi / 2)))
            for k, (cx, cy) in enumerate(centres)
            for a in steps
        ]
        self.poly(points, colour)

    def ellipse(self, x: float, y: float, width: float, height: float, colour: Colour, angle: float = 0.0) -> None:
        """A filled ellipse; `width` and `height` are half axes."""
        centre, axes = (int(x * CANVAS), int(y * CANVAS)), (int(width * CANVAS), int(height * CANVAS))
        cv2.ellipse(self.rgb, centre, axes, angle, 0, 360, colour, -1)
        cv2.ellipse(self.alpha, centre, axes, angle, 0, 360, (255,), -1)

    def arc(self, x: float, y: float, width: float, height: float, start: float, end: float, thickness: float, colour: Colour) -> None:
        """A stroke along an ellipse, from `start` to `end` degrees, clockwise from the right."""
        centre, axes = (int(x * CANVAS), int(y * CANVAS)), (int(width * CANVAS), int(height * CANVAS))
        cv2.ellipse(self.rgb, centre, axes, 0, start, end, colour, int(thickness * CANVAS))
        cv2.ellipse(self.alpha, centre, axes, 0, start, end, (255,), int(thickness * CANVAS))

    def line(self, start: Point, end: Point, thickness: float, colour: Colour) -> None:
        """A straight stroke with round ends."""
        a, b = (int(start[0] * CANVAS), int(start[1] * CANVAS)), (int(end[0] * CANVAS), int(end[1] * CANVAS))
        cv2.line(self.rgb, a, b, colour, int(thickness * CANVAS))
        cv2.line(self.alpha, a, b, (255,), int(thickness * CANVAS))


def _mug(pen: Pen) -> None:
    pen.arc(0.72, 0.52, 0.15, 0.17, -90, 90, 0.06, pen.dark)
    pen.box(0.22, 0.25, 0.72, 0.85, pen.main, 0.08)
    pen.ellipse(0.47, 0.27, 0.25, 0.05, pen.dark)
    pen.box(0.22, 0.48, 0.72, 0.58, pen.accent, 0.0)


def _juice(pen: Pen) -> None:
    pen.box(0.42, 0.06, 0.58, 0.2, pen.dark, 0.02)
    pen.poly([(0.42, 0.18), (0.58, 0.18), (0.68, 0.36), (0.68, 0.9), (0.66, 0.93), (0.34, 0.93), (0.32, 0.9), (0.32, 0.36)], pen.main)
    pen.box(0.32, 0.46, 0.68, 0.76, pen.accent, 0.0)
    pen.ellipse(0.5, 0.61, 0.09, 0.09, pen.main)


def _perfume(pen: Pen) -> None:
    pen.box(0.41, 0.1, 0.59, 0.28, pen.accent, 0.02)
    pen.box(0.45, 0.26, 0.55, 0.36, pen.dark, 0.0)
    pen.box(0.24, 0.34, 0.76, 0.92, pen.main, 0.06)
    pen.box(0.36, 0.52, 0.64, 0.76, pen.accent, 0.02)


def _sneaker(pen: Pen) -> None:
    pen.poly([(0.08, 0.4), (0.14, 0.34), (0.3, 0.34), (0.4, 0.45), (0.62, 0.56), (0.86, 0.61), (0.94, 0.72), (0.06, 0.72)], pen.main)
    pen.box(0.05, 0.7, 0.95, 0.8, pen.accent, 0.04)
    for k in range(4):
        pen.line((0.36 + 0.07 * k, 0.45 + 0.035 * k), (0.44 + 0.07 * k, 0.42 + 0.04 * k), 0.018, pen.accent)
    pen.poly([(0.16, 0.68), (0.4, 0.54), (0.46, 0.58), (0.26, 0.7)], pen.dark)


def _boot(pen: Pen) -> None:
    pen.poly([(0.26, 0.1), (0.56, 0.1), (0.55, 0.5), (0.62, 0.6), (0.86, 0.66), (0.9, 0.8), (0.24, 0.8)], pen.main)
    pen.box(0.22, 0.79, 0.91, 0.88, pen.dark, 0.02)
    pen.box(0.25, 0.1, 0.57, 0.19, pen.accent, 0.02)
    for k in range(4):
        pen.line((0.48, 0.27 + 0.08 * k), (0.57, 0.25 + 0.08 * k), 0.018, pen.accent)


def _handbag(pen: Pen) -> None:
    pen.arc(0.5, 0.4, 0.2, 0.28, 180, 360, 0.04, pen.dark)
    pen.poly([(0.2, 0.38), (0.8, 0.38), (0.9, 0.9), (0.1, 0.9)], pen.main)
    pen.poly([(0.2, 0.38), (0.8, 0.38), (0.84, 0.58), (0.5, 0.66), (0.16, 0.58)], pen.dark)
    pen.ellipse(0.5, 0.63, 0.045, 0.045, pen.accent)


def _backpack(pen: Pen) -> None:
    pen.arc(0.5, 0.16, 0.1, 0.09, 180, 360, 0.035, pen.dark)
    pen.box(0.22, 0.13, 0.78, 0.92, pen.main, 0.17)
    pen.box(0.3, 0.52, 0.7, 0.86, pen.dark, 0.05)
    pen.line((0.33, 0.6), (0.67, 0.6), 0.022, pen.accent)
    pen.line((0.3, 0.36), (0.7, 0.36), 0.022, pen.accent)


def _lamp(pen: Pen) -> None:
    pen.line((0.5, 0.4), (0.5, 0.86), 0.04, pen.dark)
    pen.poly([(0.34, 0.12), (0.66, 0.12), (0.82, 0.5), (0.18, 0.5)], pen.main)
    pen.box(0.18, 0.46, 0.82, 0.51, pen.accent, 0.0)
    pen.ellipse(0.5, 0.88, 0.2, 0.05, pen.dark)


def _watch(pen: Pen) -> None:
    pen.poly([(0.38, 0.06), (0.62, 0.06), (0.66, 0.4), (0.66, 0.6), (0.62, 0.94), (0.38, 0.94), (0.34, 0.6), (0.34, 0.4)], pen.main)
    pen.ellipse(0.5, 0.5, 0.25, 0.25, pen.dark)
    pen.ellipse(0.5, 0.5, 0.2, 0.2, pen.accent)
    pen.line((0.5, 0.5), (0.5, 0.36), 0.018, pen.dark)
    pen.line((0.5, 0.5), (0.6, 0.54), 0.018, pen.dark)


def _headphones(pen: Pen) -> None:
    pen.arc(0.5, 0.55, 0.33, 0.4, 180, 360, 0.06, pen.main)
    pen.box(0.1, 0.5, 0.28, 0.86, pen.dark, 0.07)
    pen.box(0.72, 0.5, 0.9, 0.86, pen.dark, 0.07)
    pen.box(0.22, 0.53, 0.32, 0.83, pen.accent, 0.04)
    pen.box(0.68, 0.53, 0.78, 0.83, pen.accent, 0.04)


def _tshirt(pen: Pen) -> None:
    pen.poly(
        [
            (0.32, 0.12),
            (0.68, 0.12),
            (0.95, 0.3),
            (0.84, 0.46),
            (0.74, 0.4),
            (0.74, 0.9),
            (0.26, 0.9),
            (0.26, 0.4),
            (0.16, 0.46),
            (0.05, 0.3),
        ],
        pen.main,
    )
    pen.ellipse(0.5, 0.13, 0.11, 0.06, pen.dark)
    pen.ellipse(0.5, 0.46, 0.12, 0.12, pen.accent)


def _book(pen: Pen) -> None:
    pen.poly([(0.22, 0.12), (0.74, 0.08), (0.74, 0.88), (0.22, 0.92)], pen.main)
    pen.poly([(0.74, 0.08), (0.82, 0.13), (0.82, 0.9), (0.74, 0.88)], (238, 234, 222))
    pen.poly([(0.22, 0.12), (0.28, 0.115), (0.28, 0.915), (0.22, 0.92)], pen.dark)
    pen.poly([(0.36, 0.26), (0.66, 0.24), (0.66, 0.46), (0.36, 0.48)], pen.accent)


def _candle(pen: Pen) -> None:
    pen.ellipse(0.5, 0.17, 0.045, 0.1, (255, 186, 60))
    pen.ellipse(0.5, 0.2, 0.022, 0.06, (255, 244, 200))
    pen.line((0.5, 0.24), (0.5, 0.34), 0.015, (40, 34, 30))
    pen.box(0.28, 0.32, 0.72, 0.92, pen.main, 0.05)
    pen.box(0.28, 0.54, 0.72, 0.76, pen.accent, 0.0)


def _snowboard(pen: Pen) -> None:
    pen.ellipse(0.5, 0.5, 0.15, 0.46, pen.main)
    pen.ellipse(0.5, 0.5, 0.09, 0.4, pen.accent)
    pen.box(0.37, 0.3, 0.63, 0.37, pen.dark, 0.02)
    pen.box(0.37, 0.63, 0.63, 0.7, pen.dark, 0.02)


PAINTERS: dict[str, Callable[[Pen], None]] = {
    "mug": _mug,
    "juice": _juice,
    "perfume": _perfume,
    "sneaker": _sneaker,
    "boot": _boot,
    "handbag": _handbag,
    "backpack": _backpack,
    "lamp": _lamp,
    "watch": _watch,
    "headphones": _headphones,
    "t-shirt": _tshirt,
    "book": _book,
    "candle": _candle,
    "snowboard": _snowboard,
}
"""Category -> its painter. The order is fixed: tastes and logs refer to it."""
