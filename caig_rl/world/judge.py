"""The click world as a `Judge`: what share of impressions on a finished creative is clicked, and how relevant it is."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from itertools import product as combinations

import cv2
import numpy as np
import numpy.typing as npt

from caig_rl.config.schema import WorldConfig
from caig_rl.imaging.views import judge_view
from caig_rl.types import ImageArray, Judgement, Product, PromptCheck
from caig_rl.world.eyes import Seen, load_eyes, see
from caig_rl.world.prompt_reading import read_prompt
from caig_rl.world.scenes import SCENE_SIZE
from caig_rl.world.suitability import SUITABLE, TRAP_WALL, world_category
from caig_rl.world.tastes import BASE_LOG_ODDS, BASE_SPREAD, CLUTTER_VALUE, CONTRAST_VALUE, SEGMENT_SHARES, SEGMENTS, Tastes, Trap
from caig_rl.world.vocabulary import ATTRIBUTES, SceneSpec, caption

_RELEVANCE_WEIGHTS = {"surface": 0.4, "wall": 0.4, "prop": 0.2}
_CATEGORY_INDEX = {name: index for index, name in enumerate(SUITABLE)}


class WorldJudge:
    """Shoppers of the world `seed`. They look at a creative scaled down to 64 px, and at nothing else but its product's category."""

    simulated = True
    segment_shares: Mapping[str, float] = dict(zip(SEGMENTS, SEGMENT_SHARES, strict=True))

    def __init__(self, seed: int, trap: Trap = True) -> None:
        self.seed = seed
        self._tastes = Tastes.draw(seed, trap)
        self.trap = trap

    @classmethod
    def of(cls, config: WorldConfig) -> WorldJudge:
        """The shoppers that the section `world` describes."""
        return cls(config.seed, config.trap)

    def judge(self, products: Sequence[Product], creatives: Sequence[ImageArray]) -> list[Judgement]:
        """True CTR and relevance of each creative. Creatives may have any size; all are seen at 64 px.

        A product shown to one segment has the CTR of its shoppers. Raises ValueError for a segment that the world has not.
        """
        by_segment = self.segment_ctrs(products, creatives)
        ctrs = by_segment @ np.array(SEGMENT_SHARES)
        views = [judge_view(creative, SCENE_SIZE) for creative in creatives]
        relevances = _relevance(products, see(load_eyes("relevance"), views))
        judged = []
        for product, ctr, by_name, relevance in zip(products, ctrs, by_segment, relevances, strict=True):
            if product.segment:
                judged.append(Judgement(float(by_name[_segment_index(product.segment)]), float(relevance)))
            else:
                judged.append(Judgement(float(ctr), float(relevance), dict(zip(SEGMENTS, by_name.tolist(), strict=True))))
        return judged

    def segment_ctrs(self, products: Sequence[Product], creatives: Sequence[ImageArray]) -> npt.NDArray[np.float64]:
        """(N, segments) true CTR of each creative among each segment of shoppers."""
        views = [judge_view(creative, SCENE_SIZE) for creative in creatives]
        seen = see(load_eyes("shoppers"), views)
        rows = []
        for index, (product, view) in enumerate(zip(products, views, strict=True)):
            scene = {name: probabilities[index] for name, probabilities in seen.items()}
            utility = self._tastes.utility(_category_index(product), scene)
            rows.append(_base_log_odds(self.seed, product) + utility + _composition_value(view))
        return 1 / (1 + np.exp(-np.array(rows)))

    def oracle_prompts(self, product: Product, count: int) -> list[str]:
        """The `count` prompts whose scenes are worth most to the shoppers, if drawn as said: for measuring the ceiling only.

        For a product shown to one segment, to its shoppers. Raises ValueError for a segment that the world has not.
        """
        category = _category_index(product)
        shares = np.eye(len(SEGMENTS))[_segment_index(product.segment)] if product.segment else np.array(SEGMENT_SHARES)
        tables = {name: shares @ self._tastes.tables[name][:, category] for name in ATTRIBUTES}
        tried = {name: [int(value) for value in np.argsort(-tables[name])[:3]] for name in ATTRIBUTES}
        if self.trap == "varied" and TRAP_WALL not in tried["wall"]:
            # Elsewhere it is below the best relevant scene of every category.
            tried["wall"].append(TRAP_WALL)
        specs = [SceneSpec(*choice) for choice in combinations(*tried.values())]
        worth = {spec: float(shares @ self._tastes.utility(category, _certain(spec))) for spec in specs}
        best = sorted(worth, key=worth.__getitem__, reverse=True)[:count]
        return [caption(spec) for spec in best]

    def check_prompts(self, products: Sequence[Product], prompts: Sequence[str]) -> list[PromptCheck]:
        """See `PromptChecker`. What is well-formed, and what the trap, is the same for all products."""
        return [read_prompt(prompt) for _, prompt in zip(products, prompts, strict=True)]


def _certain(spec: SceneSpec) -> Seen:
    return {name: np.eye(len(values))[getattr(spec, name)] for name, values in ATTRIBUTES.items()}


def _category_index(product: Product) -> int:
    name = world_category(product.category)
    return -1 if name is None else _CATEGORY_INDEX[name]


def _segment_index(name: str) -> int:
    if name not in SEGMENTS:
        raise ValueError(f"the click world's shoppers have no segment {name!r}; theirs are {', '.join(SEGMENTS)}")
    return SEGMENTS.index(name)


def _base_log_odds(seed: int, product: Product) -> float:
    rng = np.random.default_rng((seed, 2, zlib.crc32(product.product_id.encode())))
    return BASE_LOG_ODDS + BASE_SPREAD * float(rng.standard_normal())


def _composition_value(view: ImageArray) -> float:
    """What contrast between middle and rim, and clutter in the rim, are worth. Lab distances; 50 is a strong contrast."""
    lab = cv2.cvtColor(view, cv2.COLOR_RGB2LAB).astype(np.float32)
    middle = lab[24:48, 22:42].reshape(-1, 3).mean(axis=0)
    rim = np.concatenate([lab[:, :10].reshape(-1, 3), lab[:, -10:].reshape(-1, 3)])
    contrast = float(np.linalg.norm(middle - rim.mean(axis=0))) / 50
    clutter = float(np.abs(np.diff(lab[..., 0], axis=1))[:, :10].mean()) / 12
    return CONTRAST_VALUE * min(contrast, 1.0) + CLUTTER_VALUE * min(clutter, 1.0)


def _relevance(products: Sequence[Product], seen: Seen) -> npt.NDArray[np.float64]:
    """Probability that surface, wall and props suit the category, weighted; 0.5 for a category the world does not know."""
    values = np.full(len(products), 0.5)
    for index, product in enumerate(products):
        name = world_category(product.category)
        if name is not None:
            suitable = SUITABLE[name]
            values[index] = sum(
                weight * seen[attribute][index, list(getattr(suitable, attribute))].sum()
                for attribute, weight in _RELEVANCE_WEIGHTS.items()
            )
    return values
