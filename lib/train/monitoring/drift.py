"""Have the pictures changed? Two tests of a window of served pictures against a reference from training. Pure NumPy, SciPy.

*The inputs changed*: MMD on features of a network that knows nothing of the run. *The model feels it*: KS on the features
that the run's own head sees. Neither knows a label, so neither says anything of accuracy.
"""

from __future__ import annotations

import numpy as np

LEVEL = 0.01  # of p, below which a window is flagged
PERMUTATIONS = 200
COMPONENTS = 16  # principal components that KS looks at
FIRST_WINDOW, WINDOW = 50, 200  # pictures of a first look, and of a whole window
SEED = 20_08  # the same window always gives the same p


def mmd(
    reference: np.ndarray, window: np.ndarray, permutations: int = PERMUTATIONS, rng: np.random.Generator | None = None
) -> float:
    """p of "both come from one distribution": maximum mean discrepancy with an RBF kernel and a permutation test.

    ``reference`` is float [m, d], ``window`` float [n, d]; the kernel's width is the median distance of all pairs (Gretton
    et al. 2012, JMLR 13, sections 2 and 8). The least p is 1 / (permutations + 1).
    """
    rng = rng or np.random.default_rng(SEED)
    both = np.concatenate([reference, window]).astype(np.float64)
    squares = (both * both).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * both @ both.T, 0)
    np.fill_diagonal(distances, 0)
    width = np.median(distances[np.triu_indices(len(both), 1)])
    return permuted(np.exp(-distances / max(width, 1e-12)), len(reference), permutations, rng)


def permuted(kernel: np.ndarray, first: int, permutations: int, rng: np.random.Generator) -> float:
    """p of the division after ``first`` rows of ``kernel`` [m + n, m + n], among random divisions of the same sizes.

    The diagonal is the same in every division, so the biased statistic ranks them as the unbiased one does.
    """
    weights = np.full(len(kernel), -1 / (len(kernel) - first))
    weights[:first] = 1 / first
    every = np.stack([weights, *(rng.permutation(weights) for _ in range(permutations))])
    found = ((every @ kernel) * every).sum(axis=1)
    # equal ones count against a change: rounding must not decide where all pictures are alike
    return float((1 + (found[1:] >= found[0] - 1e-12).sum()) / (1 + permutations))


def ks(reference: np.ndarray, window: np.ndarray, components: int = COMPONENTS) -> float:
    """p of "every component comes from one distribution": Kolmogorov-Smirnov for each, Bonferroni's correction for all.

    ``reference`` is float [m, d], ``window`` float [n, d], already in principal components; the first ``components`` count.
    """
    from scipy.stats import ks_2samp

    count = min(components, reference.shape[1])
    found = [float(ks_2samp(reference[:, k], window[:, k]).pvalue) for k in range(count)]
    return min(1.0, count * min(found))


class Basis:
    """What features are reduced to before they are kept: ``mean`` float32 [d], ``rows`` float32 [k, d]."""

    def __init__(self, mean: np.ndarray, rows: np.ndarray) -> None:
        self.mean, self.rows = mean, rows

    @classmethod
    def random(cls, width: int, components: int, rng: np.random.Generator) -> Basis:
        """Keeps distances of ``width`` features about as they are (Johnson & Lindenstrauss 1984).

        Not principal components of the reference: pictures that those were fitted to look nearer to each other than new
        ones do, and MMD then flags nearly every window of unchanged pictures (98 of 100; docs/edge.md).
        """
        rows = rng.normal(0, components**-0.5, (components, width))
        return cls(np.zeros(width, np.float32), rows.astype(np.float32))

    @classmethod
    def principal(cls, features: np.ndarray, components: int) -> Basis:
        """``features`` is float [n, d]; at most n - 1 components are kept."""
        mean = features.mean(axis=0)
        _, _, rows = np.linalg.svd(features - mean, full_matrices=False)
        return cls(mean.astype(np.float32), rows[: min(components, len(features) - 1)].astype(np.float32))

    def fits(self, kept: np.ndarray) -> bool:
        """Whether ``kept`` may be features reduced by this, and a sample to compare with."""
        shapes = self.mean.ndim == 1 and self.rows.shape[1:] == self.mean.shape and kept.shape[1:] == self.rows.shape[:1]
        return bool(shapes and len(kept) and np.isfinite(kept).all())

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """float [n, d] -> float32 [n, k]."""
        return (features.astype(np.float32) - self.mean) @ self.rows.T
