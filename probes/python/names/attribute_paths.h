// Variables that are attributes: `config.retries` of a rule, `self.count` of `self.count = watch(0)`.
//
// The object is watched by a holder that refers to us instead of having events of its own; each change of one of its
// attributes makes us look, when the event's way through the graph is over, at what the named attributes hold now.
//
// Threads: the GIL is held. No function runs code of the host's.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "probes/python/names/variables.h"

namespace watcher::python {

class AttributePaths {
 public:
  /// `patterns`: "retries", "db.host", "re*" of the variable `base`. `owner`: as in Tracked.
  AttributePaths(std::string_view base, std::string_view owner, Scope scope, std::vector<std::string> patterns,
                 const WatchRequest* request);
  AttributePaths(const AttributePaths&) = delete;
  AttributePaths& operator=(const AttributePaths&) = delete;
  ~AttributePaths();

  /// The variable is bound to another object, null: unbound. What its attributes hold is told where it differs;
  /// `quiet`: is where they start from.
  void bind(PyObject* object, DictionaryRef place, bool quiet);
  /// An attribute of one of our objects was stored or deleted, perhaps to the same value.
  void changed(PyObject* object, std::string_view attribute, DictionaryRef place);
  /// Belongs to one object, and ends with it.
  bool single() const { return request_ != nullptr; }
  /// Can any of its objects be followed?
  bool watches() const { return !objects_.empty(); }
  /// The object's end is near, or the watch's.
  void release();

 private:
  struct Leaf {
    PyObject* object;  // whose attribute it is
    std::string attribute;
    PyObject* value;
  };
  using Leaves = std::map<std::string, Leaf>;  // by path

  void find(PyObject* object, std::string_view pattern, const std::string& path, Leaves* leaves,
            std::vector<PyObject*>* objects);
  void settle(const PyObject* stored_in, std::string_view stored, DictionaryRef place, bool quiet);
  void watch_objects(const std::vector<PyObject*>& objects);
  std::string full_name(const std::string& path) const { return base_ + "." + path; }

  std::string base_;
  std::string owner_;
  Scope scope_;
  std::vector<std::string> patterns_;
  const WatchRequest* request_;
  PyObject* root_ = nullptr;                    // an address
  DictionaryRef holder_ = 0;                    // what our holders are known by
  std::vector<PyObject*> objects_;              // addresses of those that are watched for us
  std::map<std::string, Variable> attributes_;  // by path
};

/// `self.x = watch(…)` has stored the value: the attribute is a variable from here on. False: the object's attributes
/// cannot be followed.
bool watch_attribute(PyObject* object, std::string_view base, std::string_view attribute, std::string_view owner,
                     Scope scope, const WatchRequest* request);
/// The value that lies there under that name; a private name is found as the class mangles it.
PyObject* attribute_value(PyObject* object, std::string* attribute);

}  // namespace watcher::python
