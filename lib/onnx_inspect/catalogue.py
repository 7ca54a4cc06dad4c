"""Descriptions of the examples and their ONNX text. Does not import onnx, so a page may import it."""

from __future__ import annotations

DESCRIPTIONS = {
    "linear": "Y = X·A + B, written as text",
    "digits": "a small picture classifier",
    "digits-retrained": "another bias, and a Softmax",
    "transformer-block": "dynamic batch and sequence",
    "loop": "a loop with a body",
    "functions": "its own function, called twice",
    "troubled": "valid, and full of problems",
}
LINEAR = """<
  ir_version: 10,
  opset_import: ["" : 20],
  producer_name: "model-workbench",
  model_version: 1,
  doc_string: "A linear layer: Y = X·A + B"
>
linear (float[batch, 4] X) => (float[batch, 3] Y)
<
  float[4, 3] A = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 0.5},
  float[3] B = {0.1, 0.2, 0.3}
>
{
  XA = MatMul(X, A)
  Y = Add(XA, B)
}
"""
LOOP = """<ir_version: 10, opset_import: ["" : 20], producer_name: "model-workbench",
  doc_string: "Doubles x until it is over 100">
doubling (float[n] x) => (float[n] y)
<int64 most = {20}, bool yes = {1}, float limit = {100}>
{
  y = Loop (most, yes, x) <body = step (int64 i, bool go, float[n] v) => (bool again, float[n] w) {
    w = Add(v, v)
    top = ReduceMax <keepdims = 0> (w)
    again = Less(top, limit)
  }>
}
"""
SCALED = """<ir_version: 10, opset_import: ["" : 20, "local" : 1], producer_name: "model-workbench">
functions (float[batch, 8] x) => (float[batch, 8] y)
{
  h = local.scaled_tanh <gain = 2.0> (x)
  y = local.scaled_tanh <gain = 0.5> (h)
}
<domain: "local", opset_import: ["" : 20]>
scaled_tanh <gain> (x) => (y)
{
  g = Constant <value_float: float = @gain> ()
  t = Tanh(x)
  y = Mul(t, g)
}
"""
