#include "supervisor/curl_loop.h"

#include <curl/curl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "common/net_address.h"

namespace dongle {
namespace {

constexpr std::size_t kMaxHeaderBytes = 64 << 10;

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct SlistDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

Result<void> check_url(const std::string& text, CurlLoop::Route route) {
  std::unique_ptr<CURLU, UrlDeleter> url(curl_url());
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK)
    return fail(Errc::InvalidArgument, "not a URL: {}", text);
  if (route == CurlLoop::Route::OverSocks5) return {};
  char* part = nullptr;
  if (curl_url_get(url.get(), CURLUPART_HOST, &part, 0) != CURLUE_OK)
    return fail(Errc::InvalidArgument, "no host in URL: {}", text);
  std::string host = part;
  curl_free(part);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (!Address::parse(host))
    return fail(Errc::InvalidArgument, "{}: the host must be a literal address, nothing is resolved here", text);
  return {};
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

/// What the SOCKS5 server said, RFC 1928 section 6.
Errc errc_of_proxy_error(long code) {
  switch (code) {
    case CURLPX_REPLY_GENERAL_SERVER_FAILURE:
    case CURLPX_REPLY_NETWORK_UNREACHABLE:
    case CURLPX_REPLY_HOST_UNREACHABLE: return Errc::Unreachable;
    case CURLPX_REPLY_CONNECTION_REFUSED:
    case CURLPX_REPLY_NOT_ALLOWED: return Errc::Refused;
    case CURLPX_REPLY_TTL_EXPIRED: return Errc::Timeout;
    default: return Errc::Protocol;
  }
}

Error error_of(CURL* easy, CURLcode code, const std::string& url, const char* detail) {
  long sys = 0;
  curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &sys);
  Error error{Errc::Protocol, 0, fmt::format("{}: {}", url, *detail != '\0' ? detail : curl_easy_strerror(code))};
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: error.code = Errc::Timeout; break;
    case CURLE_COULDNT_CONNECT:
      error.code = sys == ECONNREFUSED || sys == ECONNRESET ? Errc::Refused : Errc::Unreachable;
      break;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST: error.code = Errc::Unreachable; break;
    case CURLE_GOT_NOTHING:
      error.code = Errc::Refused;
      error.sys = ECONNRESET;
      break;
    case CURLE_RECV_ERROR:  // curl says this of broken chunks, too; then the kernel has nothing to complain about
      if (sys == 0) break;
      error.code = errc_from_errno(static_cast<int>(sys));
      error.sys = static_cast<int>(sys);
      break;
    case CURLE_SEND_ERROR:
      error.code = Errc::Refused;
      error.sys = static_cast<int>(sys);
      break;
    case CURLE_PROXY: {
      long proxy_code = 0;
      curl_easy_getinfo(easy, CURLINFO_PROXY_ERROR, &proxy_code);
      error.code = errc_of_proxy_error(proxy_code);
      break;
    }
    case CURLE_URL_MALFORMAT: error.code = Errc::InvalidArgument; break;
    default: break;  // an enum of curl's; the rest is a peer that doesn't keep to HTTP or TLS
  }
  // curl's detail ends in the errno's text, which Error::message() adds by itself.
  if (error.sys != 0) error.context = fmt::format("{}: {}", url, curl_easy_strerror(code));
  return error;
}

}  // namespace

std::string_view CurlLoop::Response::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

struct CurlLoop::Impl {
  explicit Impl(UvLoop& uv) : loop(uv), timer(uv) {
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    multi = curl_multi_init();
    CHECK(multi != nullptr);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &on_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
  }
  ~Impl() {
    CHECK(running == 0);
    curl_multi_cleanup(multi);
    curl_global_cleanup();
  }

  static int on_socket(CURL*, curl_socket_t fd, int what, void* self_pointer, void*) {
    auto* self = static_cast<Impl*>(self_pointer);
    if (what == CURL_POLL_REMOVE) {
      self->polls.erase(fd);
      return 0;
    }
    const int events =
        (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? static_cast<int>(UV_WRITABLE) : 0);
    if (auto& poll = self->polls[fd]; poll) {
      poll->set_events(events);
    } else {
      poll = std::make_unique<Poll>(self->loop, fd, events, [self, fd](int status, int ready) {
        // After an error curl is to use the socket itself: only so does it learn which one it was.
        if (status < 0) ready = UV_READABLE | UV_WRITABLE;
        const int mask = (ready & UV_READABLE ? CURL_CSELECT_IN : 0) | (ready & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
        self->act(fd, mask);
      });
    }
    return 0;
  }

  static int on_timer(CURLM*, long timeout_ms, void* self_pointer) {
    auto* self = static_cast<Impl*>(self_pointer);
    if (timeout_ms < 0)
      self->timer.stop();
    else
      self->timer.start(Millis{timeout_ms}, [self] { self->act(CURL_SOCKET_TIMEOUT, 0); });
    return 0;
  }

  /// The last moment at which the descriptor still is this socket: epoll must forget it before its number is reused.
  static int on_close(void* self_pointer, curl_socket_t fd) {
    static_cast<Impl*>(self_pointer)->polls.erase(fd);
    return ::close(fd);
  }

  void act(curl_socket_t fd, int mask) {
    int still_running = 0;
    curl_multi_socket_action(multi, fd, mask, &still_running);
    finish_completed();
  }
  void finish_completed();

  UvLoop& loop;
  CURLM* multi = nullptr;
  std::map<curl_socket_t, std::unique_ptr<Poll>> polls;
  Timer timer;
  int running = 0;
};

struct CurlLoop::Request::Impl {
  Impl(CurlLoop::Impl& owner, Options opts, Done on_done)
      : curl(owner), options(std::move(opts)), done(std::move(on_done)) {
    ++curl.running;
  }
  ~Impl() {
    detach();
    --curl.running;
  }

  void detach() {
    if (std::exchange(attached, false)) curl_multi_remove_handle(curl.multi, easy.get());
  }

  void start() {
    if (auto ok = check_url(options.url, options.route); !ok) return fail_soon(std::move(ok).error());
    CHECK(options.route == Route::Direct ? options.open_socket != nullptr : options.take_peer != nullptr);
    easy.reset(curl_easy_init());
    if (!easy) return fail_soon(Error{Errc::Full, ENOMEM, "curl"});
    set_options();
    attached = curl_multi_add_handle(curl.multi, easy.get()) == CURLM_OK;
    if (!attached) fail_soon(Error{Errc::Io, 0, options.url + ": curl took no further transfer"});
  }

  void set_options() {
    CURL* h = easy.get();
    curl_easy_setopt(h, CURLOPT_PRIVATE, this);
    curl_easy_setopt(h, CURLOPT_URL, options.url.c_str());
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(h, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, static_cast<long>(options.timeout.count()));
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, detail);
    // "" keeps http_proxy & co. out; the address behind socks5h stands for the stream that on_open makes.
    curl_easy_setopt(h, CURLOPT_PROXY, options.route == Route::OverSocks5 ? "socks5h://127.0.0.1:1" : "");
    curl_easy_setopt(h, CURLOPT_NOPROXY, "");
    curl_easy_setopt(h, CURLOPT_SOCKS5_AUTH, static_cast<long>(CURLAUTH_BASIC));
    curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, &on_open);
    curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, this);
    curl_easy_setopt(h, CURLOPT_CLOSESOCKETFUNCTION, &CurlLoop::Impl::on_close);
    curl_easy_setopt(h, CURLOPT_CLOSESOCKETDATA, &curl);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, &on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, this);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, &on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, this);
    add_header("Expect:");
    for (const auto& header : options.headers) add_header(header);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers.get());
    if (options.body) {
      curl_easy_setopt(h, CURLOPT_POST, 1L);
      curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, static_cast<long>(options.body->size()));
      curl_easy_setopt(h, CURLOPT_POSTFIELDS, options.body->data());
    }
  }

  void add_header(const std::string& header) {
    headers.reset(curl_slist_append(headers.release(), header.c_str()));
    CHECK(headers != nullptr);
  }

  static curl_socket_t on_open(void* self_pointer, curlsocktype, curl_sockaddr* address) {
    auto* self = static_cast<Impl*>(self_pointer);
    if (std::exchange(self->opened, true)) return CURL_SOCKET_BAD;
    auto socket =
        self->options.route == Route::Direct ? self->options.open_socket(address->family) : self->open_stream(*address);
    if (socket) return socket->release();
    self->error = std::move(socket).error();
    return CURL_SOCKET_BAD;
  }

  /// curl 7.88 (Debian 12) connects even a socket that it was told is connected already (curl issue 10626), so a
  /// socketpair won't do. It may be sent elsewhere, though: to a listener that lives for this one connection.
  Result<UniqueFd> open_stream(curl_sockaddr& address) {
    constexpr int kType = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    UniqueFd near(::socket(AF_UNIX, kType, 0));
    listener.reset(::socket(AF_UNIX, kType, 0));
    if (!near || !listener) return fail_errno(errno, "probe stream");
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    socklen_t length = sizeof name.sun_family;  // no name: the kernel picks an abstract one, NUL and five digits
    auto* any = reinterpret_cast<sockaddr*>(&name);
    if (::bind(listener.get(), any, length) != 0 || ::listen(listener.get(), 1) != 0)
      return fail_errno(errno, "probe stream");
    length = sizeof name;
    if (::getsockname(listener.get(), any, &length) != 0) return fail_errno(errno, "probe stream");
    CHECK(length <= sizeof address.addr);
    address.family = AF_UNIX;
    address.addrlen = length;
    std::memcpy(&address.addr, &name, length);
    accept_poll.emplace(curl.loop, listener.get(), UV_READABLE, [this](int, int) { accept_peer(); });
    return near;
  }

  void accept_peer() {
    UniqueFd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!peer) return;
    // Whoever guesses the name could have come first.
    ucred who{};
    socklen_t length = sizeof who;
    if (::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &length) != 0 || who.pid != ::getpid()) return;
    accept_poll.reset();
    listener.reset();
    if (auto taken = options.take_peer(std::move(peer)); !taken) {
      detach();
      finish(std::unexpected(std::move(taken).error()));
    }
  }

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self_pointer) {
    auto* self = static_cast<Impl*>(self_pointer);
    self->header_bytes += size;
    if (self->header_bytes > kMaxHeaderBytes) {
      self->error = Error{Errc::Full, 0, self->options.url + ": more than 64 KiB of headers"};
      return 0;
    }
    const std::string_view line = trimmed({data, size});
    if (line.starts_with("HTTP/")) self->response.headers.clear();  // of an interim reply such as 100 Continue
    if (const auto colon = line.find(':'); colon != std::string_view::npos)
      self->response.headers.emplace_back(lower(trimmed(line.substr(0, colon))), trimmed(line.substr(colon + 1)));
    return size;
  }

  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self_pointer) {
    auto* self = static_cast<Impl*>(self_pointer);
    if (self->response.body.size() + size > self->options.max_body) {
      self->error =
          Error{Errc::Full, 0, fmt::format("{}: more than {} bytes", self->options.url, self->options.max_body)};
      return 0;
    }
    self->response.body.append(data, size);
    return size;
  }

  void fail_soon(Error why) {
    soon.emplace(curl.loop);
    soon->start(Millis{0}, [this, why = std::move(why)]() mutable { finish(std::unexpected(std::move(why))); });
  }

  void complete(CURLcode code) {
    curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &response.status);
    response.took = std::chrono::duration_cast<Millis>(UvLoop::now() - started);
    if (code != CURLE_OK && !error) error = error_of(easy.get(), code, options.url, detail);
    detach();
    if (error)
      finish(std::unexpected(std::move(*error)));
    else
      finish(std::move(response));
  }

  /// The last thing done here: the callback may destroy this.
  void finish(Result<Response> result) {
    auto call = std::move(done);
    call(std::move(result));
  }

  CurlLoop::Impl& curl;
  Options options;
  Done done;
  std::unique_ptr<CURL, EasyDeleter> easy;
  std::unique_ptr<curl_slist, SlistDeleter> headers;
  char detail[CURL_ERROR_SIZE] = {};
  Response response;
  std::size_t header_bytes = 0;
  std::optional<Error> error;
  std::optional<Timer> soon;
  UniqueFd listener;  ///< OverSocks5, until curl has connected to it
  std::optional<Poll> accept_poll;
  TimePoint started = UvLoop::now();
  bool opened = false;
  bool attached = false;
};

void CurlLoop::Impl::finish_completed() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    void* request = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
    static_cast<Request::Impl*>(request)->complete(message->data.result);
  }
}

CurlLoop::Request::Request(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CurlLoop::Request::~Request() = default;

CurlLoop::CurlLoop(UvLoop& loop) : impl_(std::make_unique<Impl>(loop)) {}
CurlLoop::~CurlLoop() = default;

std::unique_ptr<CurlLoop::Request> CurlLoop::fetch(Options options, Done done) {
  auto impl = std::make_unique<Request::Impl>(*impl_, std::move(options), std::move(done));
  auto* raw = impl.get();
  auto request = std::unique_ptr<Request>(new Request(std::move(impl)));
  raw->start();
  return request;
}

}  // namespace dongle
