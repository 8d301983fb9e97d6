// Opening files in the output directory without being led elsewhere: no symbolic link, no device, nobody else's file.
//
// Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/result.h"
#include "runtime/base/unique_fd.h"

namespace watcher {

/// Creates the directory (0700, parents as the umask has it) when it is missing, and opens it.
Result<UniqueFd> open_output_directory(const std::string& path);

/// Opens a regular file of our own, with one link; created files are 0600. O_NOFOLLOW and O_CLOEXEC are added.
Result<UniqueFd> open_own_file(int directory_fd, const char* name, int flags);

/// How many bytes a file of this size may still grow. RLIMIT_FSIZE must be kept from here: the kernel would answer a
/// write beyond it with SIGXFSZ.
std::uint64_t room_below_limit(std::uint64_t size);

}  // namespace watcher
