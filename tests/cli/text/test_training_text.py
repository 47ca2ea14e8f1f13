"""What a training job says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from caig_rl.cli.common import console
from caig_rl.cli.text.training_text import print_training
from caig_rl.errors import UserError
from caig_rl.learning.trainer import Progress


def test_a_job_that_stopped_at_broken_steps_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    print_training(Progress(epoch=3, best_epoch=2, best_loss=0.5, stopped="patience"), tmp_path, console)
    with pytest.raises(UserError, match=r"three steps in a row .* is the best model before them"):
        print_training(Progress(epoch=3, best_epoch=2, best_loss=0.5, dropped=3, stopped="broken_steps"), tmp_path, console)
    assert capsys.readouterr().out.count(f"model: {tmp_path}") == 2


def test_a_model_that_no_epoch_improved_is_called_the_one_it_began_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    print_training(Progress(epoch=6, best_epoch=0, best_loss=0.5, stopped="patience"), tmp_path, console)
    assert "best was the model it began with" in capsys.readouterr().out
