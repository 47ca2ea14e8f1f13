"""The API reference, made by MkDocs while it builds: for each package one page of its public names, as stubs with their docstrings.

Read from the source, not imported, so that it needs neither torch nor Ray.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PACKAGES = [
    *(
        "types",
        "interfaces",
        "errors",
        "logs",
        "segments",
        "statistics",
        "config",
        "data",
        "imaging",
        "objectives",
        "prompt_model",
        "runs",
        "models",
    ),
    *("learning", "evaluation", "sizing", "reports", "serving", "ablation", "world", "nano", "doctor"),
]
"""Of `caig_rl`, from the ground up; `actors` follows."""


def pages() -> dict[str, str]:
    """Path below the documentation's root -> Markdown."""
    found = {f"api/{name}.md": _page(f"caig_rl.{name}", ROOT / "caig_rl" / name) for name in PACKAGES}
    return {**found, "api/actors.md": _page("actors", ROOT / "actors")}


def on_config(config: Any) -> Any:
    """MkDocs: the pages come last in the navigation."""
    config.nav.append({"API": [{Path(path).stem: path} for path in pages()]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """MkDocs: add the pages, which are in no folder."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def _page(name: str, place: Path) -> str:
    modules = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    return f"# {name}\n" + "".join(_module(path) for path in modules)


def _module(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stubs = [_stub(node) for node in tree.body if _is_public(node)]
    if not stubs:
        return ""
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    first = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    # Indented, not fenced: a docstring may hold a fence of its own.
    return f"\n## {dotted}\n\n{_plain(first)}\n\n" + "\n\n".join(_indented(stub) for stub in stubs) + "\n"


def _stub(node: ast.AST) -> str:
    assert isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    if not isinstance(node, ast.ClassDef):
        return "\n".join([*_decorators(node), f"{_signature(node)}", *_docstring(node)])
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    lines = [*_decorators(node), f"class {node.name}({bases}):" if bases else f"class {node.name}:", *_docstring(node)]
    return "\n".join([*lines, *(f"    {line}" if line else "" for part in _members(node) for line in part.split("\n"))])


def _members(node: ast.ClassDef) -> Iterator[str]:
    """Fields with the text below each, then the public methods and `__init__` where it says something."""
    for index, member in enumerate(node.body):
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name) and not member.target.id.startswith("_"):
            yield ast.unparse(member)
            below = node.body[index + 1] if index + 1 < len(node.body) else None
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
                yield f'"""{below.value.value}"""'
    for member in node.body:
        if _is_public(member) or (isinstance(member, ast.FunctionDef) and member.name == "__init__" and ast.get_docstring(member)):
            yield _stub(member)


def _is_public(node: ast.AST) -> bool:
    return isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")


def _decorators(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    told = ("property", "classmethod", "staticmethod", "contextmanager", "dataclass")
    return [f"@{text}" for one in node.decorator_list if (text := ast.unparse(one)).startswith(told)]


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"{kind} {node.name}({ast.unparse(node.args)}){returns}:"


def _docstring(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    text = ast.get_docstring(node)
    return [f"    {line}" if line else "" for line in f'"""{text}"""'.split("\n")] if text else []


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))


def _plain(text: str) -> str:
    """Prose in which no character is taken for markup."""
    return "".join(f"\\{one}" if one in "\\*_[]<>#|" else one for one in text)
