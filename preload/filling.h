// The table form of an interposer: `fill(SYS_stat, real::stat, path, out(status))` is a call whose marked arguments are
// memory that the kernel writes, and the rest is passed on.
//
// Any thread, any context; without a runtime one load, one branch and the call.
#pragma once

#include <string.h>

#include "preload/destinations.h"
#include "preload/redirection.h"

namespace watcher {

/// A result as a count: negative for failure, 1 for a pointer that is not null.
template <class T>
long count_of(T* result) {
  return result == nullptr ? -1 : 1;
}
inline long count_of(long result) {
  return result;
}

/// A destination while its call runs.
template <class T>
class Filling {
 public:
  Filling(KernelWriteBegin begin, const Destination<T>& destination)
      : destination_(destination), redirection_(begin, destination.memory, destination.bytes, destination.keeps) {}

  T* target() const { return static_cast<T*>(redirection_.target()); }

  void finish(long result, int call_number) const {
    if (redirection_.active()) redirection_.finish(static_cast<ssize_t>(written(result)), call_number);
  }

  /// What the host gets when the call returns the address it was given.
  void* in_host(void* result) const { return result == target() ? destination_.memory : result; }

 private:
  size_t written(long result) const {
    const Destination<T>& to = destination_;
    if (to.extent == Extent::kChanged) return is_changed() ? to.bytes : 0;
    if (result < 0 || (result == 0 && to.extent == Extent::kPositive)) return 0;
    if (to.extent == Extent::kText) return strnlen(reinterpret_cast<const char*>(target()), to.bytes) + 1;
    if (to.extent == Extent::kResult || to.extent == Extent::kItems) return static_cast<size_t>(result) * to.item_bytes;
    return to.bytes;
  }

  bool is_changed() const {
    const Destination<T>& to = destination_;
    return readable(to.memory, to.bytes) && memcmp(target(), to.memory, to.bytes) != 0;
  }

  Destination<T> destination_;
  Redirection redirection_;
};

/// An argument that is only passed on.
template <class T>
class Passing {
 public:
  Passing(KernelWriteBegin, T value) : value_(value) {}
  T target() const { return value_; }
  void finish(long, int) const {}
  void* in_host(void* result) const { return result; }

 private:
  T value_;
};

template <class T>
struct Form {
  using Type = Passing<T>;
  static T plain(T value) { return value; }
};
template <class T>
struct Form<Destination<T>> {
  using Type = Filling<T>;
  static T* plain(const Destination<T>& destination) { return destination.memory; }
};

template <class Function, class... Forms>
auto run_filling(int call_number, Function& function, const Forms&... forms) {
  auto result = function(forms.target()...);
  (forms.finish(count_of(result), call_number), ...);
  if constexpr (__is_same(decltype(result), char*)) ((result = static_cast<char*>(forms.in_host(result))), ...);
  return result;
}

// Out of line, so that the forwarding path saves no register for it.
template <class Function, class... Arguments>
__attribute__((noinline, cold)) auto redirect_filling(KernelWriteBegin begin, int call_number, Function& function,
                                                      Arguments... arguments) {
  return run_filling(call_number, function, typename Form<Arguments>::Type(begin, arguments)...);
}

template <class Function, class... Arguments>
inline auto fill(int call_number, Function& function, Arguments... arguments) {
  auto* begin = attached(hooks.kernel_write_begin);
  return begin == nullptr ? function(Form<Arguments>::plain(arguments)...)
                          : redirect_filling(begin, call_number, function, arguments...);
}

}  // namespace watcher
