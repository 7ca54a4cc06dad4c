"""The one-way flow, read from the imports: lib knows no UI, capabilities do not know each other."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIB = sorted((ROOT / "lib").rglob("*.py"))
SHARED = {
    "model_inputs",
    "onnx_model",
    "reports",
    "tflite",
    "__pycache__",
}  # folders of lib/ that capabilities may use, and that use none
CAPABILITIES = {p.name for p in (ROOT / "lib").iterdir() if p.is_dir()} - SHARED
# the only names by which a capability may use another one
FACES = {
    "train": {
        "lib.convert.service.converter",
        "lib.convert.service.converter.Converter",
        "lib.convert.service.converter.Source",
    },
    # the same engine elsewhere: it has that one's face, and runs it
    "replicas": {
        "lib.text_to_image." + name
        for name in (
            *("engine.Engine", "engine.MAX_GROUPS", "engine.PATIENCE", "engine.CLOSED", "engine.STOPPING"),
            "request_metrics.refusals",
            *("events.Done", "events.Event", "events.Failed", "events.Loading", "events.Queued", "events.Step"),
            *("events.Stopped", "start_picture.StartPicture"),
            *("group.own_rows", "group.rows_at", "models.Catalogue", "models.resolve_size"),
            *("queue.FairQueue", "request.Request", "ticket.Ticket"),
        )
    },
}
FORBIDDEN = {"gradio", "gradio_client", "fastapi", "starlette", "spaces", "web", "app"}


def imports(path: Path, root: Path = ROOT) -> set[str]:
    """Dotted names of every import anywhere in the file; relative ones made absolute."""
    found: set[str] = set()
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(x for x in (base, node.module or "") if x)
            found |= {f"{module}.{a.name}" for a in node.names}
    return found


def against_the_flow(path: Path, root: Path = ROOT) -> set[str]:
    """What a file of lib imports and must not: a user interface, or another capability past its face."""
    own = path.relative_to(root / "lib").parts[0]
    found = set()
    for name in imports(path, root) - FACES.get(own, set()):
        first, _, rest = name.partition(".")
        capability = rest.split(".")[0] if first == "lib" else ""
        if first in FORBIDDEN or (capability in CAPABILITIES and capability != own):
            found.add(name)
    return found


def test_lib_knows_no_user_interface_and_no_other_capability() -> None:
    found = {str(path.relative_to(ROOT)): against_the_flow(path) for path in LIB}
    assert len(found) > 200 and {path: names for path, names in found.items() if names} == {}


def test_the_rule_can_fail(tmp_path: Path) -> None:
    bad = tmp_path / "lib" / "onnx_inspect" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("def f():\n    import gradio as gr\n    from ..convert import x\n    from .tasks import y\n")
    assert imports(bad, tmp_path) == {"gradio", "lib.convert.x", "lib.onnx_inspect.tasks.y"}
    assert against_the_flow(bad, tmp_path) == {"gradio", "lib.convert.x"}


def test_the_page_comes_up_without_torch() -> None:
    """Neither app.py nor a tab imports torch, diffusers or transformers at its top."""
    heavy = {"torch", "diffusers", "transformers"}
    # imported when a model is loaded
    allowed = {"batch", "row", "predict", "solo", "preview", "schedulers", "families", "vae", "image_to_image"}
    allowed |= {"onnx_importer", "source_code", "torch_values", "preload"}  # imported in child processes only
    allowed |= {"torch_training", "keras_training", "preload"}
    allowed |= {"embed", "lora_file", "lora_rows"}  # and these, with a model of pictures
    light = [p for p in LIB if not ({p.stem, *p.relative_to(ROOT).parts} & allowed)]
    light += [ROOT / "app.py", *(ROOT / "web").glob("*.py"), *(ROOT / "spaces").rglob("*.py")]
    for path in light:
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & heavy, path
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.split(".")[0] not in heavy, path


def test_spaces_is_no_package() -> None:
    """An __init__.py there would shadow PyPI's ``spaces``, which gradio imports on a Space."""
    assert not list((ROOT / "spaces").rglob("__init__.py"))


def _there(module: str, name: str, root: Path = ROOT) -> bool:
    """Whether ``from module import name`` finds something in this repository."""
    base = root.joinpath(*module.split("."))
    if (base / f"{name}.py").is_file() or (base / name).is_dir():
        return True
    source = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return source.is_file() and name in source.read_text()


def test_every_import_inside_a_function_is_there() -> None:
    """Those run last, some in environments that only slow tests make: a module that moved would not be missed."""
    missing = [
        f"{path.relative_to(ROOT)}: {node.module}.{alias.name}"
        for path in LIB
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "lib"
        for alias in node.names
        if not _there(str(node.module), alias.name)
    ]
    assert missing == []
    assert not _there("lib.convert", "tflite_codes")
