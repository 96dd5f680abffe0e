#pragma once
#include <expected>
#include <string>
#include <utility>

#include <fmt/core.h>

namespace dongle {

/// What kind of failure it was; callers branch on this and never on text.
enum class Errc {
  InvalidArgument,  ///< bad input, bad configuration
  NotFound,         ///< no such dongle, device, file
  Exists,           ///< it is there already
  Busy,             ///< something else is under way, or a cooldown runs
  Refused,          ///< the other side or our policy said no
  Timeout,          ///< a deadline passed
  Unreachable,      ///< no route, no device, no connection
  Permission,       ///< not allowed for this user
  Unsupported,      ///< this host or modem can't do it
  Protocol,         ///< the other side broke the protocol
  Io,               ///< the kernel reported an error
  Full,             ///< a table or queue is at its bound
  Cancelled,        ///< given up by the caller
};

/// The stable lower-case name, as the control socket and the logs print it ("not_found").
const char* to_string(Errc code);

/// A failure with what was attempted, from the outside in: "dongle 11: rule 10011: add: File exists".
struct Error {
  Errc code = Errc::Io;
  int sys = 0;  ///< errno, 0 if the kernel was not involved
  std::string context;
  /// context, and the errno's text behind it if there is one.
  std::string message() const;
};

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(Errc code, fmt::format_string<Args...> text, Args&&... args) {
  return std::unexpected(Error{code, 0, fmt::format(text, std::forward<Args>(args)...)});
}

/// For a failed system call: takes the errno value and maps it to the nearest Errc.
template <class... Args>
[[nodiscard]] std::unexpected<Error> fail_errno(int sys, fmt::format_string<Args...> text, Args&&... args);

/// Puts what the caller was doing in front of an error that it hands on.
template <class... Args>
[[nodiscard]] std::unexpected<Error> wrap(Error error, fmt::format_string<Args...> text, Args&&... args) {
  error.context = fmt::format(text, std::forward<Args>(args)...) + ": " + error.context;
  return std::unexpected(std::move(error));
}

Errc errc_from_errno(int sys);

template <class... Args>
std::unexpected<Error> fail_errno(int sys, fmt::format_string<Args...> text, Args&&... args) {
  return std::unexpected(Error{errc_from_errno(sys), sys, fmt::format(text, std::forward<Args>(args)...)});
}

/// Prints what is wrong and aborts. For broken invariants of our own, never for bad input.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
#define CHECK(condition) ((condition) ? static_cast<void>(0) : ::dongle::check_failed(#condition, __FILE__, __LINE__))

}  // namespace dongle
