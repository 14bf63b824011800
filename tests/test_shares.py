"""What the splits of the bandstand are made of: no design, gesture, backdrop or colour of two."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.training.clips import Clip
from playspot.training.finish import N_DESIGNS
from playspot.training.instruments import INSTRUMENTS
from playspot.training.players import HAIRS, SKINS, make_look
from playspot.training.scene import LEVELS, make_scene
from playspot.training.shares import N_TEETH, SHARES, share_of
from playspot.training.styles import STYLES, make_style

FIRST_SEEDS = {"training": 0, "validation": 100_000, "test": 200_000}
PAIRS = list(itertools.combinations(SHARES, 2))
KINDS = ("designs", "styles", "plain", "backdrops", "photos", "hairs", "clothes")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", PAIRS)
def test_no_two_splits_share_a_kind(kind: str, pair: tuple[str, str]) -> None:
    one, two = (getattr(SHARES[name], kind) for name in pair)
    assert one
    assert two
    assert not set(one) & set(two)


@pytest.mark.parametrize("pair", PAIRS)
def test_no_two_splits_share_a_range(pair: tuple[str, str]) -> None:
    rng = np.random.default_rng(1)
    one, two = (
        np.sort([SHARES[name].uniform(rng, -1.0, 3.0) for _ in range(2000)]) for name in pair
    )
    after = np.searchsorted(one, two).clip(1, len(one) - 1)  # the neighbours on both sides
    gap = min(np.abs(two - one[after]).min(), np.abs(two - one[after - 1]).min())
    assert gap > 0.05 * 4.0 / N_TEETH  # of the length of a tooth
    assert set(np.floor(one)) == set(np.floor(two)) == {-1, 0, 1, 2}  # each spans the whole range


def test_training_has_three_designs_and_styles_of_every_label() -> None:
    share = SHARES["training"]
    assert len(share.designs) >= 3
    assert len(share.styles) >= 3
    assert set(STYLES) == set(LABELS)
    used = [number for share in SHARES.values() for number in share.designs]
    assert sorted(used) == list(range(N_DESIGNS))
    for styles in STYLES.values():
        used = [number for share in SHARES.values() for number in share.styles]
        assert sorted(used) == list(range(len(styles)))


@pytest.mark.parametrize("label", LABELS)
def test_no_two_styles_of_a_label_move_alike(label: str) -> None:
    assert len({style.pattern for style in STYLES[label]}) == len(STYLES[label])


@pytest.mark.parametrize("split", SHARES)
@pytest.mark.parametrize("level", LEVELS)
def test_scenes_are_made_of_what_their_split_has(split: str, level: str) -> None:
    share = SHARES[split]
    for k in range(27):
        seed = FIRST_SEEDS[split] + k
        assert Clip(Path("a.mp4"), Path("a.json"), (), (), (), seed=seed).split == split
        assert share_of(seed) is share
        for actor in make_scene(seed, level, 4.0).actors:
            assert actor.look.hair_form in share.hairs
            assert actor.look.shirt_form in share.clothes
            if actor.label and actor.finish and actor.style:
                assert actor.finish.form in share.designs
                own = {STYLES[actor.label][number].pattern for number in share.styles}
                assert actor.style.pattern in own


@pytest.mark.parametrize("label", LABELS)
def test_colours_and_gestures_of_two_splits_differ(label: str) -> None:
    rng = np.random.default_rng(2)
    looks, bodies, sizes = {}, {}, {}
    for name, share in SHARES.items():
        looks[name] = np.array([make_look(rng, share).skin for _ in range(100)])
        bodies[name] = [INSTRUMENTS[label].finish(rng, share) for _ in range(100)]
        sizes[name] = [make_style(rng, label, share) for _ in range(100)]
    for one, two in PAIRS:
        near = np.abs(looks[one][:, None] - looks[two][None, :]).sum(axis=2).min()
        assert near > 0.5  # of 255, in three channels
        assert not {f.girth for f in bodies[one]} & {f.girth for f in bodies[two]}
        assert not {f.body for f in bodies[one]} & {f.body for f in bodies[two]}
        assert not {(s.pattern, s.reach) for s in sizes[one]} & {
            (s.pattern, s.reach) for s in sizes[two]
        }
    assert len(SKINS) > 2
    assert len(HAIRS) > 2
