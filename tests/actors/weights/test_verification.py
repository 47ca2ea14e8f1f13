"""What the verification of a sync catches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actors.weights.published import Canary, PublishedWeights, SyncReport
from actors.weights.verification import SyncError, canary_view, verify_publication, verify_sync
from caig_rl.types import PolicyVersion

CANARY = Canary("write", canary_view(16), (1, 2))
OLD = PublishedWeights(PolicyVersion(0, 1), "aaaa", CANARY, (-1.0, -2.0), ())
NEW = PublishedWeights(PolicyVersion(0, 2), "bbbb", CANARY, (-1.5, -2.5), ())
GOOD = SyncReport(NEW.version, "bbbb", (-1.0, -2.0), "aaaa", (-1.5, -2.50001), 0.1)


def test_a_true_sync_verifies() -> None:
    verify_sync(GOOD, NEW, "float32")


def test_a_skipped_sync_is_caught_by_the_canary() -> None:
    with pytest.raises(SyncError, match=r"0\.5 nats off"):
        verify_sync(replace(GOOD, after=GOOD.before), NEW, "float32")


def test_a_skipped_sync_is_caught_where_the_canary_hardly_moved() -> None:
    published = replace(NEW, canary_log_probs=(-1.00001, -2.0))
    with pytest.raises(SyncError, match="still runs the old weights"):
        verify_sync(replace(GOOD, after=GOOD.before), published, "float32")


def test_other_bytes_are_caught_by_the_hash() -> None:
    with pytest.raises(SyncError, match="other bytes"):
        verify_sync(replace(GOOD, sha256="cccc"), NEW, "float32")


def test_another_version_is_caught() -> None:
    with pytest.raises(SyncError, match=r"holds version 0\.1, not 0\.2"):
        verify_sync(replace(GOOD, version=OLD.version), NEW, "float32")


def test_a_canary_that_is_not_a_number_is_caught() -> None:
    with pytest.raises(SyncError, match="nan nats off"):
        verify_sync(replace(GOOD, after=(float("nan"), -2.5)), NEW, "float32")


def test_the_same_weights_twice_leave_the_canary_and_verify() -> None:
    published = replace(NEW, sha256="aaaa", canary_log_probs=OLD.canary_log_probs)
    verify_sync(replace(GOOD, sha256="aaaa", after=GOOD.before), published, "float32")


def test_old_weights_published_again_are_caught_unless_nothing_was_learned() -> None:
    stale = replace(NEW, sha256=OLD.sha256)
    with pytest.raises(SyncError, match="the export is stale"):
        verify_publication(stale, OLD, learned=True)
    verify_publication(stale, OLD, learned=False)
    verify_publication(NEW, OLD, learned=True)
    with pytest.raises(SyncError, match=r"0\.1 was published after 0\.2"):
        verify_publication(OLD, NEW, learned=True)


def test_the_canarys_picture_differs_by_axis_and_channel() -> None:
    view = canary_view(16)
    assert view.shape == (16, 16, 3) and view.dtype == np.uint8
    assert not np.array_equal(view, view.transpose(1, 0, 2)) and not np.array_equal(view, view[..., ::-1])
