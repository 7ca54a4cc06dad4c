"""Small models with the symptoms of public reports, for int8. Builders as in ``report_graphs.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.convert.report_graphs import graph, longs, normal, saved


def nearly_dead_channel(folder: Path) -> Path:
    """A depthwise Conv whose third channel has weights of 1e-9 and a bias of 3, as pruned by training."""
    w = normal(4, 1, 3, 3, scale=0.3)
    w[2] *= 1e-9
    text = """g (float[batch,4,8,8] x) => (float[batch,4,8,8] y) {
        c = Conv <group = 4, pads = [1, 1, 1, 1]> (x, w, b)  y = Relu (c) }"""
    np.savez(folder / "samples.npz", x=normal(48, 4, 8, 8, seed=1))
    return saved(graph(text, w=w, b=np.float32([0.1, -0.2, 3, 0.4])), folder)


def stacked_weights(folder: Path) -> Path:
    """MatMul with weights of three dimensions, one matrix a head."""
    text = "g (float[3,batch,16] x) => (float[3,batch,8] y) { y = MatMul (x, w) }"
    return saved(graph(text, w=normal(3, 16, 8)), folder)


def tied_both_ways(folder: Path) -> Path:
    """One matrix for two Gemms, once as it is and once transposed: an autoencoder with tied weights."""
    text = """g (float[batch,16] x) => (float[batch,16] y) {
        h = Gemm (x, w, b)  a = Relu (h)  y = Gemm <transB = 1> (a, w) }"""
    return saved(graph(text, w=normal(16, 8, scale=0.3), b=normal(8, seed=1)), folder)


def cast_weights(folder: Path) -> Path:
    """Weights stored as float16 and cast on the way to a Conv: no initializer is the Conv's own input."""
    text = """g (float[batch,3,8,8] x) => (float[batch,4,6,6] y) {
        w = Cast <to = 1> (w16)  b = Cast <to = 1> (b16)  y = Conv (x, w, b) }"""
    return saved(graph(text, w16=normal(4, 3, 3, 3).astype(np.float16), b16=normal(4).astype(np.float16)), folder)


def one_bias_for_two(folder: Path) -> Path:
    """Two Convs with one bias, behind inputs of very different ranges: an int32 bias has one scale a Conv."""
    text = """g (float[batch,3,8,8] x) => (float[batch,4,8,8] y, float[batch,4,8,8] z) {
        y = Conv <pads = [1, 1, 1, 1]> (x, w, b)  s = Mul (x, k)  z = Conv <pads = [1, 1, 1, 1]> (s, w, b) }"""
    np.savez(folder / "samples.npz", x=normal(48, 3, 8, 8, seed=1))
    return saved(graph(text, w=normal(4, 3, 3, 3, scale=0.3), b=normal(4, seed=2), k=np.float32(0.1)), folder)


def empty_slice(folder: Path) -> Path:
    """A roll by nothing: an empty slice and a whole one, joined. What is empty has no range to calibrate."""
    text = """g (float[batch,6] x) => (float[batch,2,2] y) {
        none = Slice (x, zero, zero, one)  all = Slice (x, zero, six, one)  j = Concat <axis = 1> (none, all)
        m = MatMul (j, w)  y = Reshape (m, shape) }"""
    np.savez(folder / "samples.npz", x=normal(48, 6, seed=1))
    return saved(graph(text, shape=longs(-1, 2, 2), zero=longs(0), one=longs(1), six=longs(6), w=normal(6, 4)), folder)
