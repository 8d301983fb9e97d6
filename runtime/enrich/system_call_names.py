"""Writes the kernel's names of its system calls, from the headers of the machine we are built on, as a C++ table.

usage: system_call_names.py OUTPUT COMPILER...
"""
import pathlib
import re
import subprocess
import sys

output, compiler = sys.argv[1], sys.argv[2:]
macros = subprocess.run([*compiler, "-E", "-dM", "-x", "c++", "-include", "asm/unistd_64.h", "/dev/null"], check=True,
                        capture_output=True, text=True).stdout
names = {int(number): name for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", macros, re.MULTILINE)}
rows = "".join(f'    "{names.get(number, "")}",\n' for number in range(max(names) + 1))
pathlib.Path(output).write_text(f"constexpr std::string_view kSystemCallNames[] = {{\n{rows}}};\n")
