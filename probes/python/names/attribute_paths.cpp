#include "probes/python/names/attribute_paths.h"

#include <fnmatch.h>
#include <string.h>

#include <algorithm>

#include "probes/python/api/unwatch.h"
#include "probes/python/context/frames.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/objects/attributes.h"
#include "probes/python/objects/tracked.h"

namespace watcher::python {
namespace {

bool is_pattern(std::string_view text) {
  return text.find_first_of("*?[") != text.npos;
}

PyObject* value_of(PyObject* object, const std::string& name) {
  bool known = false;
  const Ref text(PyUnicode_FromStringAndSize(name.data(), static_cast<ssize_t>(name.size())));
  PyObject* value = text ? stored_attribute(object, text.get(), &known) : nullptr;
  return known ? value : nullptr;
}

template <class Visit>
void for_each_attribute(PyObject* object, Visit visit) {
  PyObject* attributes = attributes_of(object);
  PyObject *name, *ignored;
  ssize_t position = 0;
  while (attributes != nullptr && PyDict_Next(attributes, &position, &name, &ignored) != 0) {
    ssize_t size = 0;
    const char* text = name->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(name, &size) : nullptr;
    if (text == nullptr)
      PyErr_Clear();
    else
      visit(std::string(text, static_cast<std::size_t>(size)));
  }
}

}  // namespace

AttributePaths::AttributePaths(std::string_view base, std::string_view owner, Scope scope,
                               std::vector<std::string> patterns, const WatchRequest* request)
    : base_(base), owner_(owner), scope_(scope), patterns_(std::move(patterns)), request_(request) {}

AttributePaths::~AttributePaths() {
  release();
}

void AttributePaths::release() {
  for (auto& [path, variable] : attributes_) {
    variable.untrack();
    forget_given(&variable);
  }
  for (PyObject* object : objects_) untrack_container(object, holder_, nullptr);
  objects_.clear();
}

// Attributes that a pattern with wildcards names are looked for; a plain one is there even when it is unbound.
void AttributePaths::find(PyObject* object, std::string_view pattern, const std::string& path, Leaves* leaves,
                          std::vector<PyObject*>* objects) {
  if (object == nullptr) return;
  if (std::find(objects->begin(), objects->end(), object) == objects->end()) objects->push_back(object);
  const std::size_t dot = pattern.find('.');
  const std::string name(pattern.substr(0, dot));
  auto visit = [&](const std::string& attribute) {
    PyObject* value = value_of(object, attribute);
    const std::string here = path.empty() ? attribute : path + "." + attribute;
    if (dot == pattern.npos)
      leaves->insert_or_assign(here, Leaf{object, attribute, value});
    else
      find(value, pattern.substr(dot + 1), here, leaves, objects);
  };
  if (!is_pattern(name)) return visit(name);
  for_each_attribute(object, [&](const std::string& attribute) {
    if (fnmatch(name.c_str(), attribute.c_str(), 0) == 0 && attribute.substr(0, 2) != "__") visit(attribute);
  });
}

void AttributePaths::watch_objects(const std::vector<PyObject*>& objects) {
  for (PyObject* old : objects_)
    if (std::find(objects.begin(), objects.end(), old) == objects.end()) untrack_container(old, holder_, nullptr);
  std::vector<PyObject*> kept;
  for (PyObject* object : objects) {
    const std::string name = full_name(patterns_.front());
    const Tracked request{.name = name, .owner = owner_, .scope = scope_, .by_rule = true, .paths = this};
    if (kind_of(object->type) != nullptr) continue;  // a list, dict or set
    const DictionaryRef holder = track_container(object, request);
    if (holder == 0) continue;
    holder_ = holder;
    kept.push_back(object);
  }
  objects_ = std::move(kept);
}

void AttributePaths::settle(const PyObject* stored_in, std::string_view stored, DictionaryRef place, bool quiet) {
  const SettledContext context;  // leaves are borrowed
  Leaves leaves;
  std::vector<PyObject*> objects;
  for (const std::string& pattern : patterns_) find(root_, pattern, "", &leaves, &objects);
  for (auto& [path, variable] : attributes_) leaves.try_emplace(path, Leaf{nullptr, "", nullptr});
  for (const auto& [path, leaf] : leaves) {
    const auto [found, fresh] = attributes_.try_emplace(path);
    Variable& variable = found->second;
    const std::string name = full_name(path);
    if (fresh) variable.renew(true);
    if (fresh && request_ != nullptr) {
      variable.given = request_;
      variable.from_watch = true;
      note_given(&variable, name);
    }
    if (!variable.watched) continue;  // unwatch() was called
    const bool is_stored = leaf.object == stored_in && leaf.attribute == stored && stored_in != nullptr;
    if (!is_stored && variable.holds(leaf.value)) continue;
    if (leaf.value == nullptr && !variable.ever_bound) continue;
    const std::string_view shown = variable.shown_name(name);
    const Subject subject{
        .variable = intern_variable(shown, owner_, scope_, request_), .place = place, .scope = scope_};
    variable.variable = request_ != nullptr ? subject.variable : 0;
    if (quiet) {
      variable.take(leaf.value, name, owner_, scope_);
    } else if (leaf.value == nullptr) {
      record_unbinding(subject, variable);
      variable.ever_bound = false;
    } else {
      record_binding(subject, variable, leaf.value, name, owner_);
    }
  }
  watch_objects(objects);
}

void AttributePaths::bind(PyObject* object, DictionaryRef place, bool quiet) {
  root_ = object;
  settle(nullptr, {}, place, quiet);
}

void AttributePaths::changed(PyObject* object, std::string_view attribute, DictionaryRef place) {
  settle(object, attribute, place, false);
}

bool watch_attribute(PyObject* object, std::string_view base, std::string_view attribute, std::string_view owner,
                     Scope scope, const WatchRequest* request) {
  KeepException keep;
  auto* paths = new AttributePaths(base, owner, scope, {std::string(attribute)}, request);  // until the object ends
  paths->bind(object, place_here(), false);
  if (paths->watches()) return true;
  delete paths;
  return false;
}

PyObject* attribute_value(PyObject* object, std::string* attribute) {
  KeepException keep;
  PyObject* value = value_of(object, *attribute);
  if (value != nullptr || attribute->substr(0, 2) != "__") return value;
  const std::string plain = *attribute;
  for_each_attribute(object, [&](const std::string& name) {
    const bool mangled = name.size() > plain.size() + 1 && name[0] == '_' && name.ends_with(plain);
    if (mangled) *attribute = name;
  });
  return value_of(object, *attribute);
}

}  // namespace watcher::python
