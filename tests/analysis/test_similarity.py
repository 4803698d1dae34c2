import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from breakeven.analysis import similarity
from breakeven.analysis.similarity import cka_matrices


def cka(a: np.ndarray, b: np.ndarray, kernel: str = "rbf", bandwidth: float = 0.5, *, unbiased: bool = False) -> float:
    """Of the one pair that a test looks at."""
    return float(cka_matrices([a, b], kernel, bandwidth)[unbiased][0, 1])


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def kernel_matrix(a: np.ndarray, kernel: str, bandwidth: float) -> np.ndarray:
    if kernel == "linear":
        return a @ a.T
    distances = cdist(a, a)
    scale = bandwidth * np.median(distances[np.triu_indices(len(a), 1)])
    return np.exp(-(distances**2) / (2 * scale**2))


def reference(a: np.ndarray, b: np.ndarray, kernel: str, bandwidth: float, unbiased: bool) -> float:
    """The definitions with whole matrices: arXiv 1905.00414, eq. 3 and 4; Song et al. 2012, eq. 5."""
    n = len(a)
    centring = np.eye(n) - 1 / n
    k, l = (kernel_matrix(x, kernel, bandwidth) for x in (a, b))  # noqa: E741

    def hsic(x: np.ndarray, y: np.ndarray) -> float:
        if not unbiased:
            return float(np.trace(x @ centring @ y @ centring))
        x, y = x - np.diag(np.diag(x)), y - np.diag(np.diag(y))
        ones = np.ones(n)
        return float(
            np.trace(x @ y)
            + (ones @ x @ ones) * (ones @ y @ ones) / (n - 1) / (n - 2)
            - 2 / (n - 2) * ones @ x @ y @ ones
        )

    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.parametrize("unbiased", [False, True])
def test_blocks_give_what_whole_matrices_give(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch, kernel: str, unbiased: bool
) -> None:
    monkeypatch.setattr(similarity, "_BLOCK", 17)  # several blocks, and a last one that is not full
    a = random.normal(3.0, 1.0, size=(90, 6))
    b = np.tanh(a @ random.normal(size=(6, 4))) + 0.3 * random.normal(size=(90, 4))
    expected = reference(a, b, kernel, 0.7, unbiased)
    assert cka(a, b, kernel, 0.7, unbiased=unbiased) == pytest.approx(expected, abs=1e-10)


def test_the_published_dummy_matrices(random: np.random.Generator) -> None:
    """Table 2 of arXiv 2412.10665 by the kernel that reproduces it."""
    a = random.normal(size=(1000, 64))

    def noise() -> np.ndarray:
        return random.normal(size=(1000, 64))

    transformed = [a + 0.1 * noise(), a + 0.5 * noise(), a + 0.75 * noise(), a @ random.normal(size=(64, 64)),
                   a + noise(), a + 2 * noise(), a + 5 * noise()]  # fmt: skip
    found = [cka(a, b, kernel="rbf", bandwidth=0.5) for b in transformed]
    assert found == pytest.approx([0.99, 0.86, 0.76, 0.77, 0.67, 0.49, 0.39], abs=0.03)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.parametrize("unbiased", [False, True])
def test_invariances(random: np.random.Generator, kernel: str, unbiased: bool) -> None:
    a, b = random.normal(size=(200, 8)), random.normal(size=(200, 5))
    rotation, _ = np.linalg.qr(random.normal(size=(8, 8)))
    value = cka(a, b, kernel, unbiased=unbiased)
    assert cka(a, a, kernel, unbiased=unbiased) == pytest.approx(1.0, abs=1e-12)
    assert cka(a, a[:, ::-1], kernel, unbiased=unbiased) == pytest.approx(1.0, abs=1e-12)
    assert cka(7.0 * a @ rotation + 3.0, b, kernel, unbiased=unbiased) == pytest.approx(value, abs=1e-10)
    assert cka(b, a, kernel, unbiased=unbiased) == pytest.approx(value, abs=1e-12)
    order = random.permutation(200)
    assert cka(a[order], b[order], kernel, unbiased=unbiased) == pytest.approx(value, abs=1e-10)


def test_the_unbiased_estimate_of_independent_representations_is_near_zero(random: np.random.Generator) -> None:
    a, b = random.normal(size=(300, 16)), random.normal(size=(300, 16))
    assert cka(a, b) > 0.2, "the biased one is far from zero at this n"
    assert abs(cka(a, b, unbiased=True)) < 0.05


def test_memory_does_not_grow_with_events_squared(random: np.random.Generator) -> None:
    a = random.normal(size=(9000, 8))
    tracemalloc.start()
    try:
        cka(a, a + random.normal(size=a.shape))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 9000 * 9000 * 8 / 3


def test_single_precision_for_many_events_changes_little(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = random.normal(50.0, 1.0, size=(500, 64))
    b = a + random.normal(size=a.shape)
    exact = cka(a, b)
    monkeypatch.setattr(similarity, "SINGLE_PRECISION_ABOVE", 100)
    assert cka(a, b) == pytest.approx(exact, abs=1e-5)


def test_the_median_of_a_sample_is_near_the_median_of_all(random: np.random.Generator) -> None:
    a = random.normal(size=(3000, 10))
    assert similarity.median_distance(a, sample=500) == pytest.approx(similarity.median_distance(a), rel=0.03)


GOOD = np.arange(24.0).reshape(8, 3) ** 1.5


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (GOOD, GOOD[:5], {}, "same events"),
        (GOOD[:, 0], GOOD, {}, "representation 0 has shape"),
        (GOOD, np.where(GOOD > 20, np.nan, GOOD), {}, "representation 1 holds NaN"),
        (GOOD, np.ones((8, 3)), {}, "representation 1 is constant"),
        (GOOD, GOOD, {"kernel": "cosine"}, "'rbf' or 'linear'"),
        (GOOD, GOOD, {"bandwidth": 0.0}, "bandwidth=0.0"),
        (GOOD[:3], GOOD[:3], {}, "at least 4"),
        (np.eye(8)[:, :2], GOOD, {}, "most rows are equal"),
    ],
)
def test_bad_input_is_named(a: np.ndarray, b: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cka(a, b, **options)
