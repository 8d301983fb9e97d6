"""Objects of a JavaScript program as a model has them, and as events show them: see node_oracle_objects.py."""

import json

ANY = "*"  # a text that may be any
HOLE, UNDEFINED = object(), object()
CLASS = "Thing"


class Big(int):
    pass


class Box:
    """A container of the program; `data` is a dict, or a list."""

    def __init__(self, kind, data):
        self.kind, self.data = kind, data

    def holdings(self):
        """[(step of a path, what is there, how JavaScript gets at it)]"""
        if self.kind in ("object", CLASS):
            return [(key, value, f".{key}") for key, value in self.data.items()]
        if self.kind == "array":
            return [(i, value, f"[{i}]") for i, value in enumerate(self.data)]
        if self.kind == "map":
            return [(key, value, f".get({json.dumps(key)})") for key, value in self.data.items()]
        return [(ANY, value, i) for i, value in enumerate(self.data)] if self.kind == "set" else []


def date_text(ms):
    return f"1970-01-01T00:{ms // 60000:02}:{ms // 1000 % 60:02}.{ms % 1000:03}Z"


def text(value, depth=0, around=()):
    """As events show what lies in an object."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, Box):
        return plain_text(value)
    if any(value is box for box in around):
        return "[Circular]"
    if value.kind == "date":
        return date_text(value.data)
    names = {"object": "Object", "array": "Array", "map": "Map", "set": "Set", CLASS: CLASS}
    if depth >= 4:
        return f"[{names[value.kind]}]"
    of = lambda part: text(part, depth + 1, (*around, value))  # noqa: E731
    if value.kind == "array":
        rows = ["<empty>" if part is HOLE else of(part) for part in value.data]
        return f"[ {', '.join(rows)} ]" if rows else "[]"
    if value.kind == "set":
        rows, head = [of(part) for part in value.data], f"Set({len(value.data)}) "
    elif value.kind == "map":
        rows, head = [f"{of(key)} => {of(part)}" for key, part in value.data.items()], f"Map({len(value.data)}) "
    else:
        rows, head = [f"{key}: {of(part)}" for key, part in value.data.items()], "" if value.kind == "object" else CLASS + " "
    return f"{head}{{ {', '.join(rows)} }}" if rows else head + "{}"


def plain_text(value):
    if value is UNDEFINED or value is HOLE:
        return "undefined"
    if isinstance(value, Big):
        return f"{int(value)}n"
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def shown(value):
    """As an event shows a value itself."""
    if value is None or isinstance(value, (bool, str)):
        return str(value)
    return text(value)


def reaches(value, box, seen=None):
    seen = seen if seen is not None else set()
    if value is box:
        return True
    if not isinstance(value, Box) or id(value) in seen:
        return False
    seen.add(id(value))
    return any(reaches(part, box, seen) for _, part, _ in value.holdings())


def index_in(values, value):
    for at, one in enumerate(values):
        if one is value or (not isinstance(one, Box) and type(one) is type(value) and one == value):
            return at
    return None


def add_to(box, value):
    if index_in(box.data, value) is not None:
        return False
    box.data.append(value)
    return True
