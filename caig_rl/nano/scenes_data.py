"""Training pictures for the embedded models: scenes, half of them with a product standing in them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderTiny

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.control import canny_control, inpaint_mask, product_over
from caig_rl.imaging.placement import PlacedProduct, place
from caig_rl.nano.autoencoder import encode_all
from caig_rl.types import Cutout, ImageArray
from caig_rl.world.products import CATEGORIES, world_cutout
from caig_rl.world.scenes import SCENE_SIZE, draw_scene
from caig_rl.world.vocabulary import SceneSpec, draw_spec

_PRETRAIN_OFFSET = 2_000_000
"""Numbers of the products used to build models: the "pretrain" split of `WorldProducts`."""


@dataclass(frozen=True, slots=True)
class ScenePictures:
    """N pictures for training."""

    images: npt.NDArray[np.uint8]
    """(N, 64, 64, 3)."""
    controls: npt.NDArray[np.uint8]
    """(N, 64, 64): Canny edges of the product over black; all zero where there is none."""
    specs: list[SceneSpec]
    categories: list[int]
    """Index into `CATEGORIES`, -1 where there is no product."""


@dataclass(frozen=True, slots=True, eq=False)
class InpaintingTasks:
    """N pictures to paint around a product, as the pipeline gives them to its models."""

    latents: torch.Tensor
    """(N, 4, 16, 16): of the product over grey."""
    masks: torch.Tensor
    """(N, 1, 16, 16): 1 where the background is painted."""
    edges: npt.NDArray[np.uint8]
    """(N, 64, 64)."""
    specs: list[SceneSpec]

    def controls(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) in 0-1."""
        edges = torch.from_numpy(self.edges[rows.numpy()]).float() / 255
        return edges[:, None].expand(-1, 3, -1, -1)


def draw_inpainting(count: int, seed: int, vae: AutoencoderTiny, ground: int, num_products: int = 840) -> InpaintingTasks:
    """Draw `count` products, at varied scale and height over the grey `ground` (0-255), and a scene to paint around each."""
    rng = np.random.default_rng((seed, 14))
    cutouts = [world_cutout(0, _PRETRAIN_OFFSET + k) for k in range(num_products)]
    images, edges = np.empty((count, SCENE_SIZE, SCENE_SIZE, 3), np.uint8), np.empty((count, SCENE_SIZE, SCENE_SIZE), np.uint8)
    masks, specs = np.empty(edges.shape, np.uint8), []
    for k in range(count):
        specs.append(draw_spec(rng))
        imaging = ImagingConfig(product_scale=float(rng.uniform(0.5, 0.72)), baseline=float(rng.uniform(0.8, 0.92)))
        placed = place(cutouts[int(rng.integers(num_products))], imaging, SCENE_SIZE)
        images[k], edges[k] = product_over(placed, ground), canny_control(placed, imaging)[..., 0]
        masks[k] = inpaint_mask(placed, imaging)
    latents = encode_all(vae, images)
    painted = torch.nn.functional.interpolate(torch.from_numpy(masks)[:, None].float() / 255, size=latents.shape[-2:])
    return InpaintingTasks(latents, (painted >= 0.5).float(), edges, specs)


def paste_product(scene: ImageArray, cutout: Cutout, imaging: ImagingConfig) -> tuple[ImageArray, PlacedProduct]:
    """Stand a product in a scene, with a contact shadow: the picture (64, 64, 3), and where the product stands."""
    placed = place(cutout, imaging, SCENE_SIZE)
    layer = placed.layer
    left, _, right, bottom = placed.box
    shadow = np.zeros(scene.shape[:2], np.float32)
    cv2.ellipse(shadow, ((left + right) // 2, bottom - 1), (max(int((right - left) * 0.52), 2), 3), 0, 0, 360, (1.0,), -1)
    shaded = scene * (1 - 0.5 * cv2.GaussianBlur(shadow, (0, 0), 1.6))[..., None]
    alpha = layer[..., 3:].astype(np.float32) / 255
    return (shaded * (1 - alpha) + layer[..., :3] * alpha).round().astype(np.uint8), placed


def draw_pictures(count: int, seed: int, with_product: float = 0.5, num_products: int = 840) -> ScenePictures:
    """Draw `count` pictures; a share `with_product` of them holds a product, at varied scale and height."""
    rng = np.random.default_rng((seed, 11))
    cutouts = [world_cutout(0, _PRETRAIN_OFFSET + k) for k in range(num_products)]
    images = np.empty((count, SCENE_SIZE, SCENE_SIZE, 3), np.uint8)
    controls = np.zeros((count, SCENE_SIZE, SCENE_SIZE), np.uint8)
    specs, categories = [], []
    for k in range(count):
        spec = draw_spec(rng)
        image, category = draw_scene(spec, rng), -1
        if rng.random() < with_product:
            number = int(rng.integers(num_products))
            imaging = ImagingConfig(product_scale=float(rng.uniform(0.5, 0.72)), baseline=float(rng.uniform(0.8, 0.92)))
            image, placed = paste_product(image, cutouts[number], imaging)
            controls[k] = canny_control(placed, imaging)[..., 0]
            category = number % len(CATEGORIES)
        images[k] = image
        specs.append(spec)
        categories.append(category)
    return ScenePictures(images, controls, specs, categories)
