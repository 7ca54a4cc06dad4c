"""Built-in JAX examples, selected by name."""

from lib.convert.core.format import Format

FORMATS = (Format("jax", "JAX example", "jax.json", "jax.runner:JaxRunner", holds_weights=False),)
