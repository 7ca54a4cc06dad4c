"""Writes an exported program as Python source: a ``torch.nn.Module`` whose ``forward`` makes the program's ATen calls.

Strings from an uploaded model end up in this source, so they are turned into identifiers or literals, only known kinds
of calls are written, and ``check_source`` checks the result before it is run.
"""

from __future__ import annotations

import ast
import keyword
import math
import operator
import re
from typing import Any

from lib.errors import JobFailed

HEAD = '''"""{title}

Usage, with model.safetensors beside this file:

    from model import Model
    from safetensors.torch import load_file

    model = Model().eval()
    model.load_state_dict(load_file("model.safetensors"))
    outputs = model({inputs})  # a tuple

Inputs:  {takes}
Outputs: {gives}
"""

import math
import operator

import torch
from torch import nn

aten = torch.ops.aten


class Model(nn.Module):
    def __init__(self):
        super().__init__()
'''
NOT_COMPUTED = {"_assert_tensor_metadata.default"}  # asserts metadata only, so it is left out
PYTHON = {getattr(operator, n): f"operator.{n}" for n in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow",
          "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_", "getitem")}  # fmt: skip
PYTHON |= {math.ceil: "math.ceil", math.floor: "math.floor", math.trunc: "math.trunc"}
TORCH = ("sym_max", "sym_min", "sym_float", "sym_int", "sym_ite", "sym_not", "sym_sqrt")
RESERVED = {"self", "torch", "nn", "aten", "math", "operator", "Model", "float", "super"}


class Source:
    """The source of a program: ``text`` is the Python code, ``weights`` its state dict. Raises JobFailed."""

    def __init__(self, program: Any, inputs: list[str], takes: str, gives: str, title: str) -> None:
        self._program, self._names, self._used = program, {}, set(RESERVED)
        self._attributes: dict[str, str] = {}
        self.weights: dict[str, Any] = {}
        self.text = self._write(inputs, takes, gives, title)
        check_source(self.text)

    def _write(self, inputs: list[str], takes: str, gives: str, title: str) -> str:
        from torch.export.graph_signature import InputKind, OutputKind

        signature, weight_lines, input_names = self._program.graph_signature, [], []
        weight_kinds = {InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}
        nodes = {n.name: n for n in self._program.graph.nodes if n.op == "placeholder"}
        for spec in signature.input_specs:
            if spec.kind in weight_kinds:
                weight_lines.append(self._add_weight(nodes[spec.arg.name], spec.target))
            elif spec.kind == InputKind.USER_INPUT and spec.arg.name in nodes:
                input_names.append(
                    self._name(nodes[spec.arg.name], inputs[len(input_names)] if len(input_names) < len(inputs) else "")
                )
            else:
                raise JobFailed(f"The program has an input of kind {spec.kind.name}, which a plain module cannot take.")
        if any(spec.kind != OutputKind.USER_OUTPUT for spec in signature.output_specs):
            raise JobFailed("The program changes its own weights or inputs while it runs; a plain module does not.")
        lines, current_path = [], ""
        for node in self._program.graph.nodes:
            if node.op == "call_function":
                module_path = _place(node)
                if module_path and module_path != current_path:
                    lines.append(f"        # {module_path}")
                current_path = module_path or current_path
                lines += self._call(node)
            elif node.op == "output":
                lines.append(f"        return {self._tuple(node.args[0])}")
            elif node.op != "placeholder":
                raise JobFailed(f"The program has a node of kind {node.op}, which cannot be written as Python.")
        head = HEAD.format(title=_words(title), inputs=", ".join(input_names), takes=_words(takes), gives=_words(gives))
        arguments = ", ".join(["self", *input_names])
        return head + "".join(weight_lines) + f"\n    def forward({arguments}):\n" + "\n".join(lines) + "\n"

    def _add_weight(self, node: Any, target: str) -> str:
        """Adds a tensor to ``weights``; returns the source line that declares it as a parameter or buffer."""
        import torch

        tensor = self._program.state_dict.get(target)
        tensor = self._program.constants.get(target) if tensor is None else tensor
        if not isinstance(tensor, torch.Tensor):
            raise JobFailed("The program holds an object that is not a tensor.")
        name = _identifier(target)
        while name in self.weights or hasattr(torch.nn.Module, name) or name == "training":
            name += "_"
        self.weights[name] = tensor.detach().clone().contiguous()
        self._names[node] = f"self.{name}"
        shape, dtype = tuple(tensor.shape), str(tensor.dtype)
        parameter = isinstance(tensor, torch.nn.Parameter) and tensor.is_floating_point()
        placeholder = f"torch.empty({shape}, dtype={dtype})"
        if parameter:
            return f"        self.{name} = nn.Parameter({placeholder}, requires_grad=False)\n"
        return f'        self.register_buffer("{name}", {placeholder})\n'

    def _name(self, node: Any, wanted: str = "") -> str:
        name = _identifier(wanted or node.name)
        while name in self._used:
            name += "_"
        self._used.add(name)
        self._names[node] = name
        return name

    def _call(self, node: Any) -> list[str]:
        """Returns the source line of a call, or none for an assertion. Raises JobFailed for a target that is not allowed."""
        import torch

        target = node.target
        if isinstance(target, torch._ops.OpOverload):
            if target.namespace != "aten":
                raise JobFailed(f"The program calls {_words(str(target))}; only ATen operators can be written out.")
            overload = f"{target._opname}.{target._overloadname}"
            if overload in NOT_COMPUTED:
                return []
            callee = f"aten.{overload}"
        elif target in PYTHON:
            callee = PYTHON[target]
        elif getattr(target, "__name__", "").lstrip("_") in TORCH and "torch" in getattr(target, "__module__", ""):
            callee = f"torch.{target.__name__}"
        else:
            raise JobFailed(
                f"The program calls {_words(getattr(target, '__name__', str(target)))}, which cannot be written out."
            )
        call_arguments = [self._literal(a) for a in node.args]
        call_arguments += [f"{_identifier(k)}={self._literal(v)}" for k, v in node.kwargs.items()]
        line = f"{callee}({', '.join(call_arguments)})"
        return [f"        {self._name(node)} = {line}" if node.users else f"        {line}"]

    def _literal(self, value: Any) -> str:
        """Returns the source of an argument. Raises JobFailed for a type that cannot be written."""
        import torch

        if isinstance(value, torch.fx.Node):
            return self._names[value]
        if isinstance(value, list | tuple):
            inner = ", ".join(self._literal(v) for v in value)
            return f"[{inner}]" if isinstance(value, list) else self._tuple(value)
        if value is None or isinstance(value, bool | int | str):
            return repr(value)
        if isinstance(value, float):
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        if isinstance(value, complex):
            return repr(value)
        if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
            return str(value)
        if isinstance(value, torch.device):
            return 'torch.device("cpu")'
        raise JobFailed(f"The program has an argument of type {type(value).__name__}, which cannot be written out.")

    def _tuple(self, values: Any) -> str:
        inner = [self._literal(v) for v in values]
        return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"


def _identifier(text: str) -> str:
    name = re.sub(r"\W", "_", text, flags=re.ASCII) or "value"
    name = f"v_{name}" if name[0].isdigit() or name.startswith("__") or keyword.iskeyword(name) else name
    return name[:80]


def _words(text: str) -> str:
    return re.sub(r"[^\w .,:=()\[\]<>*+-]", "_", text, flags=re.ASCII)


def _place(node: Any) -> str:
    """Returns the path of the module that the node comes from, if the exporter recorded it; else ""."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed([v[0] for v in stack.values()]), "") if stack else ""
    path = path.removeprefix("L['self'].").removeprefix("L__self__")
    return path if re.fullmatch(r"[A-Za-z_][\w.]{0,120}", path, flags=re.ASCII) else ""


ALLOWED = (ast.Module, ast.Expr, ast.Constant, ast.Import, ast.ImportFrom, ast.alias, ast.Assign, ast.Name, ast.Attribute,
           ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Call, ast.keyword, ast.Return, ast.Tuple, ast.List,
           ast.Load, ast.Store, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub)  # fmt: skip
IMPORTS = {"math", "operator", "torch", "torch.nn"}
CALLED = re.compile(
    r"aten\.(?!from_file|_?print|_?save|_?load|from_blob|set_)\w+\.\w+|operator\.\w+|math\.(?:ceil|floor|trunc)|torch\.(?:empty|device|_?sym_\w+)|nn\.Parameter|super|float|"
    r"super\(\)\.__init__|self\.register_buffer"
)


def check_source(text: str) -> None:
    """Raises JobFailed if the source does more than define a module of tensor operators, SyntaxError if it is not Python."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ALLOWED):
            raise JobFailed(f"The generated module has a {type(node).__name__}, which is not allowed.")
        if isinstance(node, ast.Import) and not {a.name for a in node.names} <= IMPORTS:
            raise JobFailed("The generated module imports something.")
        if isinstance(node, ast.ImportFrom) and (node.module, [a.name for a in node.names]) not in (
            ("torch", ["nn"]),
            ("__future__", ["annotations"]),
        ):
            raise JobFailed("The generated module imports something.")
        if isinstance(node, ast.Call) and not CALLED.fullmatch(ast.unparse(node.func)):
            raise JobFailed(f"The generated module calls {ast.unparse(node.func)[:80]}.")
        if isinstance(node, ast.ClassDef) and (node.name != "Model" or node.decorator_list):
            raise JobFailed("The generated module has a class of its own.")
        if isinstance(node, ast.FunctionDef) and (node.name not in ("__init__", "forward") or node.decorator_list):
            raise JobFailed("The generated module has a function of its own.")
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Attribute) and ast.unparse(t.value) != "self" for t in node.targets
        ):
            raise JobFailed("The generated module changes something outside itself.")
