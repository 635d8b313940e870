"""Who writes whose fields: assignments to attributes of anything but `self`, `cls` or an object that the same
function has just made."""

import ast


def writes(tree):
    """Yield (function's name, the target as text, line) of each assignment in a module's syntax tree that
    writes another object's field."""
    everywhere = {"self", "cls"} | _made(tree)
    for node in ast.walk(tree):
        # to put one's own in the place of a module's function is another matter
        if isinstance(node, ast.Import):
            everywhere |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            made = everywhere | _made(function)
            for target in _targets(function):
                if not (isinstance(target.value, ast.Name) and target.value.id in made):
                    yield function.name, ast.unparse(target), target.lineno


def _own(function):
    """Yield the nodes of a function without those of functions within it."""
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            waiting += ast.iter_child_nodes(node)


def _targets(function):
    return [node for node in _own(function)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del))]


def _made(function):
    """Return the names (set) that the function binds to functions, or to what a class, and nothing else,
    gives."""
    values = {}
    for node in _own(function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            values.setdefault(node.name, []).append(True)       # a function may carry what belongs to it
        elif isinstance(node, (ast.Assign, ast.NamedExpr)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    values.setdefault(target.id, []).append(_is_made(node.value))
    return {name for name, all_made in values.items() if all(all_made)}


def _is_made(value):
    if not isinstance(value, ast.Call):
        return False
    name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    return name.lstrip("_")[:1].isupper() or name in ("cls", "local", "__new__")
