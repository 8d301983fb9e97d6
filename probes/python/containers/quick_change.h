// The short way of the commonest changes: of an object that one variable holds and that is part of nothing else, by one
// step, between values that fit into a word. It writes the same event as the long way (Mutation).
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/context/frames.h"
#include "probes/python/events/emit.h"
#include "probes/python/events/words.h"
#include "probes/python/objects/object_parts.h"
#include "runtime/queue/short_step.h"

namespace watcher::python {

/// What a str that many changes name is called in the dictionary; 0: it has no entry there.
struct KnownName {
  const PyObject* text;  // kept alive, so that its address cannot come to mean another
  DictionaryRef ref;
};
inline constexpr std::size_t kKnownNames = 1024;
extern constinit KnownName known_names[kKnownNames];
DictionaryRef learn_name(PyObject* text);
inline DictionaryRef known_name(PyObject* text) {
  const KnownName& known = known_names[reinterpret_cast<std::uintptr_t>(text) / 16 % kKnownNames];
  return known.text == text ? known.ref : learn_name(text);
}

/// PyDict_SetItem without our dict watcher (3.12+), for a store that is told. bypasses.cpp.
int set_item_untold(PyObject* dict, PyObject* key, PyObject* value);
/// Does our dict watcher tell of the changes that are made past set_item_untold?
bool tells_changes(const PyObject* dict);
/// The dict is changed past set_item_untold, or ends. containers_dict.cpp.
void forget_latest_item(const PyObject* dict);

class QuickChange {
 public:
  explicit QuickChange(const PyObject* object) : QuickChange(watched_containers.find(object)) {}
  explicit QuickChange(WatchedContainer* watched)
      : watched_(watched != nullptr && is_quick(*watched) ? watched : nullptr),
        version_(watched_containers.version()) {}
  /// False: take the long way.
  explicit operator bool() const { return watched_ != nullptr; }

  bool take_index(ssize_t index) {
    step_ = short_step(index);
    return true;
  }
  bool take_key(PyObject* key) {
    if (key->type == &PyUnicode_Type) return take_name(key);
    Word index;
    if (key->type != &PyLong_Type || !encode_word(key, &index)) return false;
    return take_index(static_cast<ssize_t>(index.bits));
  }
  bool take_name(PyObject* text) {
    const DictionaryRef name = known_name(text);
    step_ = short_step(name);
    return name != 0;
  }
  /// Null: there is none.
  bool take_before(const PyObject* value) { return encode_word(value, &before_); }
  void take_before(Word value) { before_ = value; }
  bool take_after(const PyObject* value) { return encode_word(value, &after_); }
  std::uint64_t step() const { return step_; }
  Word after() const { return after_; }

  /// The change is done.
  void tell(Op op) {
    if (version_ != watched_containers.version()) [[unlikely]]  // a key of the host's was compared
      watched_ = watched_containers.find(object_);
    if (watched_ == nullptr || watched_->count == 0) return;
    const Holder& holder = watched_->holders[0];
    ++watched_->changes;
    watched_->see_size();
    emit_slot(op, static_cast<std::uint8_t>(static_cast<std::uint8_t>(holder.scope) | kShortPath), holder.variable,
              place_here(), step_, before_, after_);
  }

 private:
  static bool is_quick(const WatchedContainer& watched) {
    return watched.count == 1 && watched.parent_count == 0 && (attention & kThoughtOfByHooks) == 0 &&
           !watched.attributes && watched.size_is_seen() && watched.holders[0].paths == nullptr &&
           (watched.holders[0].frame == nullptr || watched.holders[0].alive());
  }

  WatchedContainer* watched_;
  const PyObject* object_ = watched_ != nullptr ? watched_->object : nullptr;
  std::uint32_t version_;
  std::uint64_t step_ = 0;
  Word before_, after_;
};

}  // namespace watcher::python
