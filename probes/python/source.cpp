#include "probes/python/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace watcher::python {
namespace {

Ref read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Ref();
  std::string text;
  char chunk[64 * 1024];
  ssize_t got;
  while ((got = read(fd, chunk, sizeof chunk)) > 0) text.append(chunk, static_cast<std::size_t>(got));
  close(fd);
  return got < 0 ? Ref() : Ref(PyBytes_FromStringAndSize(text.data(), static_cast<ssize_t>(text.size())));
}

/// /x/app.pyz/__main__.py: the archive is the first path prefix that is a file.
Ref read_from_archive(const std::string& path) {
  for (std::size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0; slash = path.rfind('/', slash - 1)) {
    const std::string archive = path.substr(0, slash);
    struct stat status;
    if (stat(archive.c_str(), &status) != 0) continue;
    if (!S_ISREG(status.st_mode)) return Ref();
    Ref module(PyImport_ImportModule("zipimport"));
    Ref importer = module ? Ref(PyObject_CallMethod(module.get(), "zipimporter", "s", archive.c_str())) : Ref();
    return importer ? Ref(PyObject_CallMethod(importer.get(), "get_data", "s", path.c_str())) : Ref();
  }
  return Ref();
}

}  // namespace

Ref read_source(const std::string& path) {
  Ref source = read_file(path);
  if (!source) source = read_from_archive(path);
  PyErr_Clear();
  if (source && source.get()->type != &PyBytes_Type) return Ref();
  return source;
}

}  // namespace watcher::python
