// The JSON writer of the lines: keys that are known when it is compiled are copied, texts are looked at 16 bytes at a
// time. Who nests what in what is the caller's business.
//
// One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/output/json/digits.h"
#include "runtime/output/json/json_buffer.h"

namespace watcher {

class JsonWriter {
 public:
  explicit JsonWriter(JsonBuffer* buffer) : buffer_(buffer) {}

  void restart(JsonBuffer* buffer) {
    buffer_ = buffer;
    needs_comma_ = false;
  }

  void start_object() { open('{'); }
  void end_object() { close('}'); }
  void start_array() { open('['); }
  void end_array() { close(']'); }

  template <std::size_t kLength>
  void key(const char (&name)[kLength]) {
    char* to = buffer_->room(kLength + 3);
    *to = ',';
    to += needs_comma_;
    *to = '"';
    std::memcpy(to + 1, name, kLength - 1);
    std::memcpy(to + kLength, "\":", 2);
    buffer_->add(kLength + 2 + needs_comma_);
    needs_comma_ = false;
  }
  void null() { plain("null"); }
  void boolean(bool value) { value ? plain("true") : plain("false"); }
  void integer(std::int64_t value) { digits(value); }
  void count(std::uint64_t value) { digits(value); }
  /// JSON has no NaN and no infinities: finite values only.
  void number(double value);
  /// Text that is known to be valid.
  void text(std::string_view value);
  /// Text in which nothing is to be escaped either.
  void name(std::string_view plain) {
    value(plain.size() + 2, [&](char* to) {
      *to = '"';
      std::memcpy(to + 1, plain.data(), plain.size());
      to[plain.size() + 1] = '"';
      return to + plain.size() + 2;
    });
  }
  /// Text of the host: repaired where it is not valid UTF-8.
  void foreign_text(std::string_view value);
  /// JSON made before: a value.
  void raw(std::string_view json) {
    begin_value();
    buffer_->append(json);
  }
  /// A run of members without braces, up to and including the last one's key.
  void raw_members(std::string_view members) {
    raw(members);
    needs_comma_ = false;
  }
  /// A value that `write(to)` puts there, at most `most` bytes; it returns their end.
  template <class Write>
  void value(std::size_t most, Write write) {
    begin_value();
    char* const to = buffer_->room(most);
    buffer_->add(static_cast<std::size_t>(write(to) - to));
  }

 private:
  void begin_value() {
    *buffer_->room(1) = ',';
    buffer_->add(needs_comma_);
    needs_comma_ = true;
  }
  void open(char bracket) {
    begin_value();
    buffer_->append(bracket);
    needs_comma_ = false;
  }
  void close(char bracket) {
    buffer_->append(bracket);
    needs_comma_ = true;
  }
  template <std::size_t kLength>
  void plain(const char (&literal)[kLength]) {
    value(kLength, [&](char* to) {
      std::memcpy(to, literal, kLength - 1);
      return to + kLength - 1;
    });
  }
  template <class Number>
  void digits(Number number) {
    value(kLongestDecimal, [&](char* to) { return put_decimal(number, to); });
  }
  void escaped(std::string_view value, std::size_t plain);

  JsonBuffer* buffer_;
  bool needs_comma_ = false;
  std::string scratch_;
};

}  // namespace watcher
