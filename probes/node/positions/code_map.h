// Which JavaScript function an address of code belongs to, and which source position: V8 tells of all code that it
// makes, and of its moves.
//
// Written by V8's threads, moves by those of its garbage collector; read in fault handlers. One lock, never held while
// a watched byte is written, so that no fault can meet it on its own thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "probes/node/host/v8_api.h"
#include "runtime/queue/event.h"

namespace watcher::node {

struct CodePosition {
  std::uint32_t offset;     // in the code
  std::int32_t position;    // in the script's source
  DictionaryRef place = 0;  // once it was asked for
  int script_id = -1;       // in optimised code, where it is known whose source it is
};

enum class Tier : std::uint8_t { kBytecode, kBaseline, kMaglev, kOptimised };

struct Code {
  std::uintptr_t start = 0;
  std::size_t bytes = 0;
  void* isolate = nullptr;
  void* script = nullptr;  // global handle of the UnboundScript; null: a script without a name
  int script_id = -1;
  Tier tier = Tier::kBytecode;
  bool inlining = false;  // positions may be those of inlined functions
  bool internal = false;  // of node itself, or ours
  bool ours = false;
  int first_line = 0;       // of the function
  DictionaryRef place = 0;  // the function, when the line is not known
  std::string function;
  std::string file;
  std::vector<CodePosition> positions;  // by offset
};

/// Starts to listen to the calling thread's isolate. Of code that exists optimised code has no positions.
bool listen_to_code();
/// The calling thread's isolate ends.
void forget_isolate();
/// Code of files below this directory is our own, and never where a write is said to come from.
void set_own_directory(const std::string& directory);
/// From now on optimised code holds no inlined functions.
void expect_no_inlining();

/// Holds the map still. Signal handlers too.
class CodeMapLock {
 public:
  CodeMapLock();
  ~CodeMapLock();
  CodeMapLock(const CodeMapLock&) = delete;
  CodeMapLock& operator=(const CodeMapLock&) = delete;
};
/// After fork: whoever held the lock is not here.
void renew_code_map_lock();

/// Changes whenever an address may mean other code than before.
std::uint64_t code_generation();

/// Null when no JavaScript code is known there. Under the lock.
Code* find_code(std::uintptr_t address);

/// Whose source a position in optimised code is in: its own, or an inlined function's.
struct Owner {
  const Code* code;
  bool certain;  // V8 says so, or no other function known has that position
};
Owner find_owner(const Code& code, const CodePosition& entry);

}  // namespace watcher::node
