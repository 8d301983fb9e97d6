// The text that the interpreter's parser reads from standard input: a program piped in, or what is typed at the prompt.
// The parser reads it from C's `stdin`, which is replaced by a stream that hands on the same bytes and keeps a copy; at
// a terminal by the function that reads a line.
//
// Threads: the GIL is held; the stream and the line function also without it, on the thread that parses.
#pragma once

#include "probes/python/interpreter/compat.h"

namespace watcher::python {

/// The audit event "cpython.run_stdin": nothing is read yet.
void stdin_begins();
/// The parser begins to read: the whole program, or a statement.
void stdin_statement_begins();
/// Bytes read since; empty when they are not known.
Ref stdin_text();
/// Is this what the interpreter calls code from there? 3.13.0 numbers the statements: "<stdin>-0".
bool is_stdin(PyObject* filename);

}  // namespace watcher::python
