import pytest

from caig_rl.config.schema import Config
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.renderer import Renderer


@pytest.fixture(scope="session")
def nano_renderer() -> Renderer:
    """The embedded pipeline, as a run uses it."""
    config = Config()
    return Renderer(resolve_model_folder("nano", "renderer"), config.renderer, config.imaging, threads=2)
