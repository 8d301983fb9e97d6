// The few functions of V8 that N-API has no counterpart for. They are public and exported by every node 18 to 24; their
// structs are mirrored here because one probe serves all versions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher::node {

struct RegisterState {
  void *pc, *sp, *fp, *lr;
  void* callee_saved;
};

struct SampleInfo {
  std::size_t frames_count;
  void *external_callback, *context, *embedder_context;
  std::uint16_t vm_state;  // up to 22 a word of 4 bytes
  std::uint16_t reserved[3];
};

struct JitCodeEvent {
  enum Type : int { kAdded, kMoved, kRemoved, kAddPosition, kStartPositions, kEndPositions };
  enum CodeType : int { kByteCode, kJitCode, kWasmCode };
  Type type;
  CodeType code_type;
  void* code_start;
  std::size_t code_bytes;
  void* script;  // a handle of the UnboundScript, valid during the call
  void* user_data;
  void* wasm_source;
  union {
    struct {
      const char* text;
      std::size_t bytes;
    } name;
    struct {
      std::size_t offset, position;
      int kind;
    } line;
    void* new_start;
  };
  void* isolate;
};

struct V8Api {
  void* (*current_isolate)();
  void (*sample)(void* isolate, const RegisterState* registers, void** frames, std::size_t room, SampleInfo* info);
  void (*listen)(void* isolate, int options, void (*handler)(const JitCodeEvent*));
  int (*script_id)(void* script);
  int (*line_number)(void* script, int position);  // counted from 0
  const char* (*version)();
  void* (*globalize_slot)(void* isolate, void* slot);
  void* (*globalize_value)(void* isolate, std::uintptr_t value);

  void* globalize(void* isolate, void* handle) const {
    return globalize_slot != nullptr ? globalize_slot(isolate, handle)
                                     : globalize_value(isolate, *static_cast<std::uintptr_t*>(handle));
  }
};
extern constinit V8Api v8;

/// False when this node lacks one of them; then writes have no position.
bool load_v8_api();

}  // namespace watcher::node
