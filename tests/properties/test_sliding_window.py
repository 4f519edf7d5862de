"""What holds for every image, window and model."""

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from monuseg.inference import sliding_window
from monuseg.inference.sliding_window import Forward
from monuseg.inference.views import over_views, views_of

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Setting = dict[str, int]

FEW = settings(max_examples=settings.default.max_examples // 2)

images = st.tuples(st.integers(1, 45), st.integers(1, 45), st.integers(0, 99)).map(
    lambda drawn: np.random.default_rng(drawn[2]).integers(0, 256, (*drawn[:2], 3), np.uint8)
)


@st.composite
def windowings(draw: st.DrawFn) -> Setting:
    """Any window, with any overlap that leaves a step forward."""
    window = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, window - 1))
    return {"window": window, "overlap": overlap, "divisor": draw(st.sampled_from([1, 4, 8]))}


def predict_image(forward: Forward, image: Image, *, flips: bool = False, **how: int) -> Floats:
    """The prediction by windows, averaged over flips if asked for."""
    views = over_views(forward, views_of(flips=flips, rotations=False))
    return sliding_window.predict_image(views, image, **how)


def with_context(pixels: Image) -> Floats:
    """A model of two classes whose answer depends on the whole window and the place in it."""
    scaled = pixels.astype(np.float32) / 255
    mean = np.broadcast_to(scaled.mean(axis=(1, 2, 3), keepdims=True), (*scaled.shape[:3], 1))
    rows, columns = np.indices(pixels.shape[1:3], np.float32)
    place = (rows * 3 + columns) / (3 * rows.size + columns.size)
    second = scaled[..., :1] * place[np.newaxis, ..., np.newaxis]
    return np.concatenate([mean, second], axis=-1).astype(np.float32)


def blended_by_hand(
    forward: Forward, image: Image, *, window: int, overlap: int, divisor: int
) -> npt.NDArray[np.float64]:
    """The same mean pixel by pixel: weights that rise by 1 / (overlap + 1) from every edge."""
    height, width = image.shape[:2]
    rows, columns = (
        min(-(-window // divisor), -(-length // divisor)) * divisor for length in (height, width)
    )
    # Mirrored again and again, without NumPy's padding.
    mirrored = image[[at(y, height) for y in range(max(height, rows))]]
    mirrored = mirrored[:, [at(x, width) for x in range(max(width, columns))]]
    sums: dict[tuple[int, int], list[tuple[float, npt.NDArray[np.float64]]]] = {}
    for top in starts(height, rows, overlap):
        for left in starts(width, columns, overlap):
            part = mirrored[top : top + rows, left : left + columns]
            answer = forward(part[np.newaxis])[0].astype(np.float64)
            for y in range(rows):
                for x in range(columns):
                    down = min((min(y, rows - 1 - y) + 1) / (overlap + 1), 1)
                    across = min((min(x, columns - 1 - x) + 1) / (overlap + 1), 1)
                    place = sums.setdefault((top + y, left + x), [])
                    place.append((down * across, answer[y, x]))
    return np.array(
        [
            [
                sum(weight * value for weight, value in sums[y, x])
                / sum(weight for weight, _ in sums[y, x])
                for x in range(width)
            ]
            for y in range(height)
        ]
    )


def at(place: int, length: int) -> int:
    place %= 2 * length
    return min(place, 2 * length - 1 - place)


def starts(length: int, size: int, overlap: int) -> list[int]:
    found = [0]
    while found[-1] + size < length:
        found.append(min(found[-1] + size - overlap, length - size))
    return found


@settings(max_examples=settings.default.max_examples // 5)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    windowings(),
)
def test_equal_to_the_mean_taken_pixel_by_pixel(shape: tuple[int, int], how: Setting) -> None:
    image = np.random.default_rng(shape).integers(0, 256, (*shape, 3), np.uint8)
    expected = blended_by_hand(with_context, image, **how)
    np.testing.assert_allclose(predict_image(with_context, image, **how), expected, atol=1e-5)


@FEW
@given(images, windowings(), st.integers(2, 50), st.booleans())
def test_how_many_windows_go_at_once_changes_no_bit(
    image: Image, how: Setting, batch_size: int, flips: bool
) -> None:
    one = predict_image(with_context, image, **how, flips=flips)
    many = predict_image(with_context, image, **how, flips=flips, batch_size=batch_size)
    np.testing.assert_array_equal(many, one)


@FEW
@given(images, windowings(), st.floats(0, 1, width=32), st.booleans())
def test_one_answer_everywhere_stays_that_answer(
    image: Image, how: Setting, answer: float, flips: bool
) -> None:
    def constant(pixels: Image) -> Floats:
        return np.full((*pixels.shape[:3], 2), answer, np.float32)

    found = predict_image(constant, image, **how, flips=flips)
    assert found.shape == (*image.shape[:2], 2)
    np.testing.assert_allclose(found, answer, rtol=1e-6, atol=1e-30)
    # As it is kept, it is a probability and no bit more.
    assert found.astype(np.float16).max() <= 1


@FEW
@given(images, windowings(), st.booleans())
def test_a_pixel_gets_nothing_beyond_what_was_answered(
    image: Image, how: Setting, flips: bool
) -> None:
    answers = []

    def recorded(pixels: Image) -> Floats:
        answers.append(with_context(pixels))
        return answers[-1]

    found = predict_image(recorded, image, **how, flips=flips)
    assert found.dtype == np.float32
    least = np.min([answer.min(axis=(0, 1, 2)) for answer in answers], axis=0)
    most = np.max([answer.max(axis=(0, 1, 2)) for answer in answers], axis=0)
    assert (least - 1e-6 <= found).all()
    assert (found <= most + 1e-6).all()
    # One shape for all windows, for a model that halves it several times.
    assert len({answer.shape for answer in answers}) == 1
    assert all(side % how["divisor"] == 0 for side in answers[0].shape[1:3])


@FEW
@given(images, windowings(), st.floats(-2, 2), st.booleans())
def test_blending_is_linear(image: Image, how: Setting, factor: float, flips: bool) -> None:
    def other(pixels: Image) -> Floats:
        return np.flip(with_context(pixels), axis=1)

    def combined(pixels: Image) -> Floats:
        return (with_context(pixels) + np.float32(factor) * other(pixels)).astype(np.float32)

    first, second, both = (
        predict_image(forward, image, **how, flips=flips)
        for forward in (with_context, other, combined)
    )
    np.testing.assert_allclose(both, first + factor * second, atol=1e-5)


@FEW
@given(images, st.sampled_from([(1, -1), (-1, 1), (-1, -1)]))
def test_averaged_over_flips_a_flipped_window_gets_a_flipped_answer(
    image: Image, signs: tuple[int, int]
) -> None:
    y, x = signs
    how = {"window": 64, "overlap": 8, "divisor": 1}
    straight = predict_image(with_context, image, **how, flips=True)
    flipped = predict_image(with_context, np.ascontiguousarray(image[::y, ::x]), **how, flips=True)
    np.testing.assert_allclose(flipped[::y, ::x], straight, atol=1e-6)
