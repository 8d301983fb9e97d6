// How the host's threads ask the handler process for something: they store to a page that the handler watches, and
// sleep in that store until it has answered. So it takes no descriptor, no permission and no system call that the
// host's seccomp filter might forbid; and when the handler is killed, its pages open, and the asking thread goes on.
//
// Asking: any thread, any context; one at a time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher {

enum class RequestKind : std::uint8_t { kArm, kProtect, kOpen, kRelease };

struct HandlerRequest {
  RequestKind kind;
  std::uintptr_t address;
  std::size_t bytes;
};

/// What the handler says: 0 or an errno; ENOTCONN when there is none.
int ask_handler(const HandlerRequest& request);

bool handler_requests_reserve();
/// From now on nobody is asked: the handler is gone.
void handler_requests_end();
/// In a forked child: whoever of the parent's threads was asking is not here.
void handler_requests_forget();

// Handler process.

/// 0 or an errno.
int handler_requests_begin();
/// False: this page is no bell. Else the request is answered.
bool answer_request(std::uintptr_t page);

/// Carries one out. userfault.cpp.
int userfault_perform(const HandlerRequest& request);

}  // namespace watcher
