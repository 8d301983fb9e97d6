// Takes the values of secrets out of an event before anything is written of it: whole values by the name of the
// variable or a step of the path, parts of a description by the names in it, parameters of a statement likewise.
//
// One thread. Belongs to one ring.
#pragma once

#include <string>
#include <string_view>

#include "config/options.h"
#include "runtime/enrich/decode.h"
#include "runtime/enrich/delta.h"
#include "runtime/process/secret_names.h"

namespace watcher {

class Redaction {
 public:
  explicit Redaction(const Options& options);

  /// Changes the event and its comparison. True when something was hidden. The event then refers to texts in here,
  /// until the next call.
  bool apply(EventView* event, Delta* delta);

 private:
  bool is_secret(const EventView& event);
  bool hide_parts(EventView* event, Delta* delta);
  bool hide_params(EventView* event);
  /// Writes the text with `hidden` for the values behind secret names. False: there are none.
  bool hide_named(std::string_view text, std::string_view hidden, std::string* out);
  bool mentions_secret(std::string_view statement);

  bool enabled_;
  SecretNames names_;
  std::string before_;
  std::string after_;
  std::string params_;
};

}  // namespace watcher
