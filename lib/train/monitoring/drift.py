"""Drift detection: two tests of a window of served images against a reference from training. Uses NumPy and SciPy only.

*Input drift*: MMD on features of a network that is independent of the run. *Model drift*: KS on the features that the
run's own head receives. Neither uses labels, so neither measures accuracy.
"""

from __future__ import annotations

import numpy as np

LEVEL = 0.01  # significance level: a window with a smaller p is flagged
PERMUTATIONS = 200
COMPONENTS = 16  # principal components tested by KS
FIRST_WINDOW, WINDOW = 50, 200  # images before the first test, and in a full window
SEED = 20_08  # makes p deterministic for a given window


def mmd(
    reference: np.ndarray, window: np.ndarray, permutations: int = PERMUTATIONS, rng: np.random.Generator | None = None
) -> float:
    """Returns the p-value of the maximum mean discrepancy, with an RBF kernel and a permutation test.

    ``reference`` is float [m, d], ``window`` float [n, d]; the bandwidth is the median pairwise distance (Gretton et al.
    2012, JMLR 13, sections 2 and 8). The smallest possible p is 1 / (permutations + 1).
    """
    rng = rng or np.random.default_rng(SEED)
    both = np.concatenate([reference, window]).astype(np.float64)
    squares = (both * both).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * both @ both.T, 0)
    np.fill_diagonal(distances, 0)
    width = np.median(distances[np.triu_indices(len(both), 1)])
    return permuted(np.exp(-distances / max(width, 1e-12)), len(reference), permutations, rng)


def permuted(kernel: np.ndarray, first: int, permutations: int, rng: np.random.Generator) -> float:
    """Returns the p-value of splitting ``kernel`` [m + n, m + n] after ``first`` rows, among random splits of equal sizes.

    The diagonal contributes the same to every split, so the biased statistic ranks them like the unbiased one.
    """
    weights = np.full(len(kernel), -1 / (len(kernel) - first))
    weights[:first] = 1 / first
    assignments = np.stack([weights, *(rng.permutation(weights) for _ in range(permutations))])
    statistics = ((assignments @ kernel) * assignments).sum(axis=1)
    # ties count as no drift: rounding must not decide if all images are alike
    return float((1 + (statistics[1:] >= statistics[0] - 1e-12).sum()) / (1 + permutations))


def ks(reference: np.ndarray, window: np.ndarray, components: int = COMPONENTS) -> float:
    """Returns the smallest p of a Kolmogorov-Smirnov test per component, Bonferroni-corrected.

    ``reference`` is float [m, d], ``window`` float [n, d], both in principal components; the first ``components`` are
    tested.
    """
    from scipy.stats import ks_2samp

    count = min(components, reference.shape[1])
    p_values = [float(ks_2samp(reference[:, k], window[:, k]).pvalue) for k in range(count)]
    return min(1.0, count * min(p_values))


class Basis:
    """A linear projection of features: ``mean`` float32 [d], ``rows`` float32 [k, d]."""

    def __init__(self, mean: np.ndarray, rows: np.ndarray) -> None:
        self.mean, self.rows = mean, rows

    @classmethod
    def random(cls, width: int, components: int, rng: np.random.Generator) -> Basis:
        """Returns a random projection, which approximately preserves distances (Johnson & Lindenstrauss 1984).

        Principal components of the reference would bias MMD: the images that they were fitted to lie closer together than
        new ones, so nearly every window without drift is flagged (98 of 100; docs/edge.md).
        """
        rows = rng.normal(0, components**-0.5, (components, width))
        return cls(np.zeros(width, np.float32), rows.astype(np.float32))

    @classmethod
    def principal(cls, features: np.ndarray, components: int) -> Basis:
        """Returns the principal components of ``features``, float [n, d]; at most n - 1 of them."""
        mean = features.mean(axis=0)
        _, _, rows = np.linalg.svd(features - mean, full_matrices=False)
        return cls(mean.astype(np.float32), rows[: min(components, len(features) - 1)].astype(np.float32))

    def fits(self, kept: np.ndarray) -> bool:
        """Returns whether ``kept`` can be features projected with this basis: right shape, not empty, all finite."""
        shapes = self.mean.ndim == 1 and self.rows.shape[1:] == self.mean.shape and kept.shape[1:] == self.rows.shape[:1]
        return bool(shapes and len(kept) and np.isfinite(kept).all())

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Project float [n, d] to float32 [n, k]."""
        return (features.astype(np.float32) - self.mean) @ self.rows.T
