"""A class name stands in one file only, so that a name in a message or a diagram leads to one place."""

import ast
from collections import defaultdict


def test_a_class_name_stands_in_one_file(packages):
    files = defaultdict(set)
    for folder in packages.values():
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    files[node.name].add(f"{folder.name}/{path.relative_to(folder)}")

    assert len(files) > 300
    assert {name: sorted(where) for name, where in files.items() if len(where) > 1} == {}
