"""Procedural backgrounds. Drawn at twice the size and averaged down, so that edges are smooth."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from caig_rl.types import ImageArray
from caig_rl.world.vocabulary import SceneSpec

SCENE_SIZE = 64
"""Side of a scene in pixels: what the embedded renderer draws and what shoppers see."""

_DRAW = 2 * SCENE_SIZE
_SURFACE_COLOURS = (
    (150, 100, 55),
    (226, 226, 232),
    (228, 203, 150),
    (84, 156, 62),
    (44, 46, 54),
    (242, 168, 192),
    (58, 116, 196),
    (240, 246, 252),
)
_WALL_COLOURS = (
    (122, 182, 242),
    (34, 32, 40),
    (242, 138, 70),
    (242, 240, 236),
    (40, 92, 52),
    (58, 20, 108),
    (168, 84, 62),
    (138, 146, 158),
)
_YY, _XX = np.mgrid[0:_DRAW, 0:_DRAW].astype(np.float32) / _DRAW
Canvas = npt.NDArray[np.float32]


def draw_scene(spec: SceneSpec, rng: np.random.Generator) -> ImageArray:
    """Draw a scene as (64, 64, 3). The horizon, textures and places of props vary with `rng`; what is seen is fixed by `spec`."""
    canvas = np.empty((_DRAW, _DRAW, 3), np.float32)
    horizon = int(_DRAW * rng.uniform(0.54, 0.64))
    _paint_wall(canvas, spec.wall, horizon, rng)
    _paint_surface(canvas, spec.surface, horizon, rng)
    _scatter_props(canvas, spec.prop, rng)
    _light(canvas, spec.light)
    _grade(canvas, spec.palette)
    small = cv2.resize(canvas, (SCENE_SIZE, SCENE_SIZE), interpolation=cv2.INTER_AREA)
    return np.clip(small, 0, 255).astype(np.uint8)


def _paint_wall(canvas: Canvas, wall: int, horizon: int, rng: np.random.Generator) -> None:
    shade = (0.86 + 0.24 * _YY[:horizon, :, None]) * rng.uniform(0.95, 1.05)
    canvas[:horizon] = np.array(_WALL_COLOURS[wall], np.float32) * shade
    area = canvas[:horizon]
    if wall == 0:
        for _ in range(4):
            centre = (int(rng.integers(_DRAW)), int(rng.integers(10, max(horizon - 10, 11))))
            cv2.ellipse(area, centre, (int(rng.integers(12, 26)), int(rng.integers(4, 9))), 0, 0, 360, (232, 242, 252), -1)
    elif wall == 2:
        cv2.circle(area, (int(rng.integers(20, _DRAW - 20)), int(horizon * 0.55)), 14, (255, 226, 130), -1)
    elif wall == 4:
        for x in rng.integers(0, _DRAW, 9):
            cv2.rectangle(area, (int(x), 0), (int(x) + int(rng.integers(5, 11)), horizon), (22, 52, 28), -1)
    elif wall == 5:
        _paint_neon(area, horizon, rng)
    elif wall == 6:
        _paint_bricks(area, horizon)
    elif wall == 7:
        for left in (-30, 30, 84):
            peak = (left + 32 + int(rng.integers(-10, 10)), int(horizon * rng.uniform(0.1, 0.35)))
            cv2.fillPoly(area, [np.array([(left - 16, horizon), peak, (left + 84, horizon)], np.int32)], (92, 100, 116))
            cv2.fillPoly(area, [np.array([(peak[0] - 8, peak[1] + 14), peak, (peak[0] + 9, peak[1] + 14)], np.int32)], (236, 240, 246))


def _paint_neon(area: Canvas, horizon: int, rng: np.random.Generator) -> None:
    colours = ((255, 60, 200), (60, 225, 255), (252, 240, 80))
    for index in range(12):
        x, y = int(rng.integers(_DRAW - 10)), int(rng.integers(4, max(horizon - 24, 5)))
        cv2.rectangle(area, (x, y), (x + int(rng.integers(7, 12)), y + int(rng.integers(8, 24))), colours[index % 3], -1)


def _paint_bricks(area: Canvas, horizon: int) -> None:
    for row, y in enumerate(range(0, horizon, 14)):
        cv2.line(area, (0, y), (_DRAW, y), (214, 190, 172), 2)
        for x in range(-14 * (row % 2), _DRAW, 28):
            cv2.line(area, (x, y), (x, y + 14), (214, 190, 172), 2)


def _paint_surface(canvas: Canvas, surface: int, horizon: int, rng: np.random.Generator) -> None:
    yy, xx = _YY[horizon:] * _DRAW, _XX[horizon:] * _DRAW
    shade = (1.04 - 0.26 * (yy - horizon) / _DRAW)[..., None]
    area = np.array(_SURFACE_COLOURS[surface], np.float32) * shade * rng.uniform(0.96, 1.04)
    phase = rng.uniform(0, 6)
    if surface == 0:
        area -= (26 * (np.sin(yy * 0.9 + 0.6 * np.sin(xx * 0.08 + phase)) > 0.55))[..., None]
    elif surface == 1:
        area -= (46 * (np.sin(xx * 0.11 + yy * 0.17 + phase + np.sin(yy * 0.2)) > 0.9))[..., None]
    elif surface == 2:
        area += (10 * np.sin(yy * 0.5 + 1.5 * np.sin(xx * 0.06 + phase)))[..., None]
    elif surface == 3:
        area += (30 * (np.sin(xx * 1.1 + phase) * np.sin(yy * 0.7 + phase)))[..., None]
    elif surface == 4:
        area += (22 * (np.sin(xx * 0.13 - yy * 0.21 + phase) > 0.92))[..., None]
    elif surface == 5:
        area += (20 * np.sin(xx * 0.12 + yy * 0.18 + phase))[..., None]
    elif surface == 6:
        area = np.where(((yy % 16 < 2) | ((xx + yy * 0.2) % 18 < 2))[..., None], np.float32(226), area)
    elif surface == 7:
        area -= (18 * (np.sin(xx * 0.05 + phase) * np.sin(yy * 0.13 + phase) > 0.4))[..., None] * np.array((1.4, 1.0, 0.3), np.float32)
    canvas[horizon:] = area


def _scatter_props(canvas: Canvas, prop: int, rng: np.random.Generator) -> None:
    if prop == 0:
        return
    counts = (0, 13, 16, 11, 16, 11, 7, 9)
    for centre in _spread(counts[prop], rng):
        _PROP_PAINTERS[prop - 1](canvas, centre, rng)


def _spread(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Places that keep to the outer parts of the frame more often than to the middle, where a product will stand."""
    places: list[tuple[int, int]] = []
    while len(places) < count:
        x, y = int(rng.integers(4, _DRAW - 4)), int(rng.integers(4, _DRAW - 4))
        central = abs(x - _DRAW / 2) < 0.24 * _DRAW and abs(y - 0.55 * _DRAW) < 0.3 * _DRAW
        if not central or rng.random() < 0.25:
            places.append((x, y))
    return places


def _leaf(canvas: Canvas, centre: tuple[int, int], rng: np.random.Generator) -> None:
    angle = float(rng.uniform(0, 180))
    cv2.ellipse(canvas, centre, (10, 5), angle, 0, 360, (120, 48, 10), -1)
    cv2.ellipse(canvas, centre, (8, 4), angle, 0, 360, (228, 104, 20), -1)


def _snowflake(canvas: Canvas, centre: tuple[int, int], rng: np.random.Generator) -> None:
    cv2.circle(canvas, centre, 7, (96, 140, 190), -1)
    cv2.circle(canvas, centre, 5, (252, 253, 255), -1)


def _rose(canvas: Canvas, centre: tuple[int, int], rng: np.random.Generator) -> None:
    cv2.circle(canvas, centre, 9, (112, 4, 26), -1)
    cv2.circle(canvas, centre, 7, (216, 20, 52), -1)
    cv2.circle(canvas, centre, 2, (112, 4, 26), -1)


def _confetti(canvas: Canvas, centre: tuple[int, int], rng: np.random.Generator) -> None:
    box = cv2.boxPoints((centre, (12, 8), float(rng.uniform(0, 90)))).astype(np.int32)
    cv2.fillPoly(canvas, [box], (255, 212, 30))
    cv2.polylines(canvas, [box], True, (150, 104, 0), 2)


def _bokeh(canvas: Canvas, centre: tuple[int, int], rng: np.random.Generator) -> None:
    layer = canvas.copy()
    cv2.circle(layer, centre, int(rng.integers(9, 14)), (255, 238, 190), -1)
    cv2.addWeighted(layer, 0.62, canvas, 0.38, 0, dst=canvas)


def _palm(canvas: Canvas, centre: tuple[int, int], rng: np.random.Generator) -> None:
    angle = float(rng.uniform(0, 180))
    cv2.ellipse(canvas, centre, (24, 7), angle, 0, 360, (10, 70, 40), -1)
    cv2.ellipse(canvas, centre, (21, 4), angle, 0, 360, (40, 176, 84), -1)


def _ribbon(canvas: Canvas, centre: tuple[int, int], rng: np.random.Generator) -> None:
    t = np.linspace(-1, 1, 12)
    angle = rng.uniform(0, np.pi)
    wave = np.stack([16 * t, 6 * np.sin(4 * t)])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = ((turn @ wave).T + centre).astype(np.int32)
    cv2.polylines(canvas, [points], False, (12, 30, 120), 7)
    cv2.polylines(canvas, [points], False, (40, 92, 255), 4)


_PROP_PAINTERS = (_leaf, _snowflake, _rose, _confetti, _bokeh, _palm, _ribbon)


def _light(canvas: Canvas, light: int) -> None:
    if light in (1, 2):
        side = (_XX - 0.5) * (-1 if light == 1 else 1)
        canvas *= (1 + 0.8 * side)[..., None]
        canvas += (44 * np.clip(side, 0, None) * 2)[..., None] * np.array((1.0, 0.96, 0.84), np.float32)
    elif light == 3:
        distance = np.sqrt((_XX - 0.5) ** 2 + (_YY - 0.5) ** 2)
        canvas *= (1.22 - 1.25 * np.clip(distance - 0.12, 0, None))[..., None]


def _grade(canvas: Canvas, palette: int) -> None:
    if palette == 1:
        canvas *= np.array((1.07, 0.98, 0.82), np.float32)
        canvas += np.array((12, 3, 0), np.float32)
    elif palette == 2:
        canvas *= np.array((0.80, 0.96, 1.06), np.float32)
        canvas += np.array((0, 3, 14), np.float32)
