// watcher.toml: the options by their keys, and the rules as `[[watch]]` tables:
//
//     [[watch]]
//     file   = "app.py"
//     local  = ["counter"]      # also: global, both, unknown
//
// Relative paths in a file are relative to that file. Any thread; ordinary zone; no exceptions.
#pragma once

#include <string>
#include <string_view>

#include "config/options.h"

namespace watcher {

/// Sets and adds what `text` says; `options` is untouched when anything in it is wrong. `name` is the file's path: it
/// opens the error messages, followed by line and column.
Result<void> parse_toml_text(Options& options, std::string_view text, const std::string& name);
Result<void> load_toml_file(Options& options, const std::string& path);

/// The same options and rules as a watcher.toml of its own: `config` and `files_scope` are left out, since what those
/// files say is in `options` already.
std::string to_toml(const Options& options);

}  // namespace watcher
