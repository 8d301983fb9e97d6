"""embed_package.py OUTPUT PACKAGE_DIRECTORY MODULE.py...: the modules as rows of package.cpp's table."""

import pathlib
import sys

output, package = map(pathlib.Path, sys.argv[1:3])
rows = []
for path in map(pathlib.Path, sys.argv[3:]):
    parts = [package.name, *path.resolve().relative_to(package.resolve()).with_suffix("").parts]
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    rows.append(f'{{"{name}", {str(is_package).lower()}, R"py({path.read_text()})py"}},\n')
output.write_text("".join(rows))
