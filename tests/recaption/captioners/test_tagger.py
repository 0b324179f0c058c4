"""The tagger says what real pictures show, in good English, the same on every run."""

from importlib.metadata import files

import cv2
import numpy as np
import pytest
from torchvision.models import EfficientNet_B0_Weights

from pipelines.vision.colours import colour_shares, dominant
from recaption.base import ClipView
from recaption.captioners import vocabulary
from recaption.captioners.phrasing import ClipFacts, write_caption
from recaption.captioners.registry import captioner_fingerprint, check_captioner, load_captioner
from recaption.config import CaptionConfig
from tests.support.footage import real_clips

CLASSES = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
SCORES = {"camera": "pan left", "motion_mean": 0.02, "luma_mean": 120.0, "luma_std": 50.0, "sharpness": 100.0}


@pytest.fixture(scope="module")
def tagger():
    return load_captioner(CaptionConfig())


def picture(name):
    """A real photograph that comes with scikit-learn."""
    (entry,) = (entry for entry in files("scikit-learn") if entry.name == name)
    return cv2.cvtColor(cv2.imread(str(entry.locate())), cv2.COLOR_BGR2RGB)


def view(frames, **scores):
    return ClipView("c", np.asarray(frames), SCORES | scores, 2.0)


def tags(*likely):
    """All classes, the given ones first: what the net would say."""
    rest = [(i, name, 0.0) for i, name in enumerate(CLASSES) if name not in dict(likely)]
    return [(CLASSES.index(name), name, p) for name, p in likely] + rest


def test_it_names_a_palace_in_a_real_photograph_and_the_same_each_time(tagger):
    caption = tagger.caption(view([picture("china.jpg")] * 2))
    assert "palace" in caption.short
    assert caption == tagger.caption(view([picture("china.jpg")] * 2))
    assert caption.clip_id == "c"
    assert caption.tags.camera == ("pan left",)


def test_it_sees_the_bow_tie_in_the_car(tagger):
    from pipelines.media.decode import frames_at
    from pipelines.media.read_clock import read_clock

    path = real_clips()["carphone_pristine.mp4"]
    frames = frames_at(path, read_clock(path), [10, 60, 110])
    assert tagger.caption(view(frames)).short.startswith("A person wearing a bow tie")


def write_of(*likely, colours=(("green", 0.5), ("blue", 0.3)), **scores):
    return write_caption(ClipFacts(tags(*likely), colours, SCORES | scores))


def test_what_was_not_measured_is_not_told():
    short, dense, tags = write_of(("goose", 0.6), camera=None, motion_mean=None, sharpness=None)
    assert short == "A goose, in green and blue, even light."
    assert "camera" not in dense
    assert (tags.camera, tags.motion) == ((), ())


@pytest.mark.parametrize(
    ("likely", "subject"),
    [
        ([("sulphur-crested cockatoo", 0.6)], "A sulphur-crested cockatoo,"),
        ([("albatross", 0.1), ("king penguin", 0.1), ("goose", 0.1)], "A bird resembling an albatross,"),
        (
            [("African elephant", 0.1), ("tusker", 0.09), ("Indian elephant", 0.09)],
            "An elephant resembling an African elephant,",
        ),
        ([("suit", 0.3), ("Windsor tie", 0.2)], "A person wearing a suit and a tie,"),
        ([("streetcar", 0.19), ("minibus", 0.18)], "A vehicle resembling a streetcar on a street,"),
        ([("envelope", 0.1)], "Something like an envelope,"),
        ([("unicycle", 0.5)], "A unicycle on a street,"),
        ([("seashore", 0.7)], "A seashore,"),
    ],
)
def test_it_says_what_is_sure_and_hedges_what_is_not(likely, subject):
    short, dense, _ = write_of(*likely)
    assert short.startswith(subject)
    assert subject.rstrip(",")[2:] in dense


def test_captions_are_short_or_dense_and_tell_clips_apart():
    captions = {
        write_of(("tabby", p), camera=camera, motion_mean=motion, luma_mean=luma)[:2]
        for p in (0.5,)
        for camera in ("static", "zoom in", "handheld")
        for motion in (0.0, 0.03, 0.1, 0.5)
        for luma in (20.0, 80.0, 120.0, 200.0)
    }
    assert len({short for short, _ in captions}) == len({dense for _, dense in captions}) == 3 * 4 * 4
    for short, dense in captions:
        assert len(short.split()) <= 25
        assert 2 <= dense.count(".") <= 4
        assert short.endswith(".")
        assert "  " not in short + dense


def test_colours_are_named_by_what_one_sees():
    def named(*rgb):
        return next(iter(colour_shares(np.full((8, 8, 3), rgb, np.uint8))))

    assert [
        named(*rgb)
        for rgb in ((200, 20, 20), (20, 180, 40), (30, 60, 220), (240, 220, 40), (5, 5, 5), (250, 250, 250))
    ] == [
        "red",
        "green",
        "blue",
        "yellow",
        "black",
        "white",
    ]
    assert named(110, 70, 30) == "brown"
    half = np.zeros((8, 8, 3), np.uint8)
    half[:, :4] = (30, 60, 220)
    assert [(name, pytest.approx(share)) for name, share in dominant([colour_shares(half)])] == [
        ("black", 0.5),
        ("blue", 0.5),
    ]


def test_the_vocabulary_speaks_of_classes_that_exist():
    for group in ("VEHICLES", "STREET", "CLOTHING", "BUILDINGS", "INDOORS", "SCREENS", "LANDSCAPES"):
        assert set(getattr(vocabulary, group)) <= set(CLASSES), group
    assert vocabulary.living_group(CLASSES.index("albatross")) == "bird"
    assert vocabulary.living_group(CLASSES.index("tabby")) == "cat"
    assert vocabulary.living_group(CLASSES.index("envelope")) is None


def test_captioners_are_found_by_name_with_the_near_miss():
    check_captioner(CaptionConfig())
    with pytest.raises(ValueError, match="captioner 'tager' is not known; did you mean 'tagger'"):
        load_captioner(CaptionConfig(name="tager"))
    fewer, same = (
        captioner_fingerprint(CaptionConfig(num_frames=3)),
        captioner_fingerprint(CaptionConfig(actors=4)),
    )
    assert fewer != captioner_fingerprint(CaptionConfig()) == same
