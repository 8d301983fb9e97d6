// The scope file: one line a source file, `app.py:(local:counter,global:db_conn)`.
//
// `#` opens a comment line, or a comment behind the list; blank lines count for nothing. Scopes are local, global, both
// and unknown; a name without one is unknown. A file named on several lines adds up. The last `:(` of a line starts the
// list, since file names may contain it. Any thread; ordinary zone.
#pragma once

#include <string>
#include <string_view>

#include "config/options.h"

namespace watcher {

/// Adds the rules of `text` to `options`; `name` opens the error messages, followed by line and column.
Result<void> parse_scope_text(Options& options, std::string_view text, std::string_view name);
Result<void> load_scope_file(Options& options, const std::string& path);

/// The names of the rules of `options`, which is all that a scope file can say: conditions and limits are left out.
std::string to_scope_file(const Options& options);

}  // namespace watcher
