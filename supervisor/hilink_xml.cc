#include "supervisor/hilink_xml.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>

#include <pugixml.hpp>

namespace dongle {
namespace {

constexpr int kMaxDepth = 16;
constexpr std::ptrdiff_t kMaxTags = 2 * 8192;
constexpr std::size_t kMaxTokens = 64;
constexpr std::size_t kMaxTokenBytes = 512;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

/// One code point of UTF-8; false if the bytes at `i` are none. Surrogates pass: CESU-8 writes them singly.
bool next_code_point(std::string_view text, std::size_t& i, char32_t& code) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(i);
  const int more = lead < 0x80 ? 0 : lead < 0xC2 ? -1 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : lead < 0xF5 ? 3 : -1;
  if (more < 0 || i + static_cast<std::size_t>(more) >= text.size()) return false;
  code = more == 0 ? lead : lead & (0x3Fu >> more);
  for (int k = 1; k <= more; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return false;
    code = (code << 6) | (byte(i + k) & 0x3Fu);
  }
  constexpr char32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[more] || code > 0x10FFFF) return false;
  i += static_cast<std::size_t>(more) + 1;
  return true;
}

void append_utf8(std::string& out, char32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

/// Valid UTF-8: pairs of surrogates (CESU-8) become the character they mean, what isn't UTF-8 becomes U+FFFD.
std::string repaired_utf8(std::string_view text) {
  constexpr char32_t kReplacement = 0xFFFD;
  const auto is_high = [](char32_t c) { return c >= 0xD800 && c < 0xDC00; };
  const auto is_low = [](char32_t c) { return c >= 0xDC00 && c < 0xE000; };
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    char32_t code = 0;
    if (!next_code_point(text, i, code)) {
      append_utf8(out, kReplacement);
      ++i;
      continue;
    }
    if (is_high(code)) {
      std::size_t after = i;
      char32_t low = 0;
      if (i < text.size() && next_code_point(text, after, low) && is_low(low)) {
        i = after;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      }
    }
    append_utf8(out, is_high(code) || is_low(code) ? kReplacement : code);
  }
  return out;
}

/// The beginning of a body that makes no sense, fit for one log line.
std::string excerpt_of(std::string_view body) {
  constexpr std::size_t kShown = 48;
  if (body.empty()) return "nothing";
  std::string out;
  for (char c : body.substr(0, kShown)) out += c >= ' ' && c <= '~' ? c : '.';
  return fmt::format("\"{}\"{}", out,
                     body.size() > kShown ? fmt::format(" and {} bytes more", body.size() - kShown) : "");
}

bool copy_element(const pugi::xml_node& node, int depth, XmlElement& out) {
  if (depth > kMaxDepth) return false;
  out.name = repaired_utf8(node.name());
  for (const auto& child : node.children()) {
    if (child.type() == pugi::node_element) {
      if (!copy_element(child, depth + 1, out.children.emplace_back())) return false;
    } else if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata) {
      out.text += repaired_utf8(child.value());
    }
  }
  if (!out.children.empty()) out.text.clear();
  return true;
}

void append_escaped(std::string& out, std::string_view text) {
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&apos;"; break;
      default: out += c;
    }
  }
}

void append_element(std::string& out, const XmlElement& element) {
  out += '<' + element.name + '>';
  append_escaped(out, element.text);
  for (const auto& child : element.children) append_element(out, child);
  out += "</" + element.name + '>';
}

/// Printable and without separators, so that it can go back in a header as it came.
bool is_header_safe(std::string_view text) {
  return !text.empty() && text.size() <= kMaxTokenBytes &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~' && c != ';' && c != ','; });
}

template <class T>
std::optional<T> number_of(const XmlElement& response, std::string_view name) {
  const std::string_view text = response.text_of(name);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

template <class T>
Result<T> required_number(const XmlElement& response, std::string_view name) {
  if (auto value = number_of<T>(response, name)) return *value;
  return fail(Errc::Protocol, "{} is {} where a number belongs", name, excerpt_of(response.text_of(name)));
}

std::string copy_of(const XmlElement& response, std::string_view name) {
  return std::string(response.text_of(name));
}

/// "-105dBm", ">=-51dBm", "-9.0dB"; nothing if it isn't a number that a receiver can have measured.
std::optional<double> level_of(const XmlElement& response, std::string_view name) {
  std::string_view text = response.text_of(name);
  while (!text.empty() && std::string_view("<>= ").find(text.front()) != std::string_view::npos) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || !std::isfinite(value) || std::abs(value) > 1000) return std::nullopt;
  const std::string_view unit = trimmed({end, static_cast<std::size_t>(text.data() + text.size() - end)});
  if (unit != "" && unit != "dBm" && unit != "dB") return std::nullopt;
  return value;
}

std::string network_type_of(int code) {
  switch (code) {
    case 0: return "none";
    case 1:
    case 2:
    case 3: return "2G";
    case 19:
    case 101: return "LTE";
    case 17:
    case 18: return "3G+";
    case 111: return "5G";
    default: break;
  }
  if (code >= 4 && code <= 9) return "3G";
  if (code >= 41 && code <= 46) return "3G+";
  return "";
}

SimState sim_state_of(int code) {
  switch (code) {
    case 255: return SimState::Absent;
    case 256: return SimState::Fault;
    case 257: return SimState::Ready;
    case 258: return SimState::PinDisabled;
    case 259: return SimState::Checking;
    case 260: return SimState::PinRequired;
    case 261: return SimState::PukRequired;
    default: return SimState::Unknown;
  }
}

Errc errc_of(HilinkRule rule) {
  switch (rule) {
    case HilinkRule::Surface:
    case HilinkRule::RetryOnce:
    case HilinkRule::Encrypt:
    case HilinkRule::Human: return Errc::Refused;
    case HilinkRule::Unsupported: return Errc::Unsupported;
    case HilinkRule::BackOff:
    case HilinkRule::Wait:
    case HilinkRule::Disconnect: return Errc::Busy;
    case HilinkRule::Login:
    case HilinkRule::Credentials:
    case HilinkRule::LockedOut: return Errc::Permission;
    case HilinkRule::NewToken:
    case HilinkRule::NewSession: return Errc::Protocol;
  }
  return Errc::Refused;
}

}  // namespace

const XmlElement* XmlElement::child(std::string_view child_name) const {
  const auto found = std::ranges::find(children, child_name, &XmlElement::name);
  return found == children.end() ? nullptr : &*found;
}

std::string_view XmlElement::text_of(std::string_view child_name) const {
  const auto* found = child(child_name);
  return found != nullptr ? trimmed(found->text) : std::string_view{};
}

std::string hilink_request(const std::vector<XmlElement>& elements) {
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
  append_element(out, XmlElement{"request", "", elements});
  return out;
}

Result<HilinkReply> parse_hilink_reply(std::string_view body) {
  std::string_view text = body;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text = trimmed(text);
  if (!text.starts_with('<')) return fail(Errc::Protocol, "not XML: {}", excerpt_of(body));
  if (std::ranges::count(text, '<') > kMaxTags) return fail(Errc::Protocol, "too many elements: {}", excerpt_of(body));
  pugi::xml_document document;
  const auto parsed =
      document.load_buffer(text.data(), text.size(), pugi::parse_default | pugi::parse_doctype, pugi::encoding_utf8);
  // Before the parser's verdict: a web page is reported as one, whatever else is wrong with it.
  for (const auto& node : document.children())
    if (node.type() == pugi::node_doctype)
      return fail(Errc::Protocol, "a page or a DTD, no reply: {}", excerpt_of(body));
  if (!parsed) return fail(Errc::Protocol, "broken XML ({}): {}", parsed.description(), excerpt_of(body));

  const pugi::xml_node root = document.document_element();
  HilinkReply reply;
  if (!copy_element(root, 1, reply.root)) return fail(Errc::Protocol, "nested too deeply: {}", excerpt_of(body));
  if (reply.root.name == "response") return reply;
  if (reply.root.name != "error") return fail(Errc::Protocol, "neither <response> nor <error>: {}", excerpt_of(body));
  auto code = required_number<int>(reply.root, "code");
  if (!code || *code == 0) return fail(Errc::Protocol, "an error without a code: {}", excerpt_of(body));
  reply.error = *code;
  return reply;
}

std::vector<std::string> csrf_tokens_of_page(std::string_view html) {
  std::vector<std::string> tokens;
  std::size_t at = 0;
  while (tokens.size() < kMaxTokens && (at = html.find("<meta", at)) != std::string_view::npos) {
    const auto end = html.find('>', at);
    if (end == std::string_view::npos) break;
    const std::string_view meta = html.substr(at, end - at);
    at = end;
    if (meta.find("csrf_token") == std::string_view::npos) continue;
    const auto content = meta.find("content=");
    if (content == std::string_view::npos || content + 9 >= meta.size()) continue;
    const char quote = meta[content + 8];
    const auto close = meta.find(quote, content + 9);
    if ((quote != '"' && quote != '\'') || close == std::string_view::npos) continue;
    const std::string_view token = meta.substr(content + 9, close - content - 9);
    if (is_header_safe(token)) tokens.emplace_back(token);
  }
  return tokens;
}

std::vector<std::string> split_tokens(std::string_view header) {
  std::vector<std::string> tokens;
  while (!header.empty() && tokens.size() < kMaxTokens) {
    const auto end = std::min(header.find('#'), header.size());
    if (const auto token = trimmed(header.substr(0, end)); is_header_safe(token)) tokens.emplace_back(token);
    header.remove_prefix(std::min(end + 1, header.size()));
  }
  return tokens;
}

std::optional<std::string> session_cookie(std::string_view set_cookie) {
  const std::string_view pair = trimmed(set_cookie.substr(0, set_cookie.find(';')));
  if (!pair.starts_with("SessionID=") || pair.size() == std::strlen("SessionID=") || !is_header_safe(pair))
    return std::nullopt;
  return std::string(pair);
}

std::optional<std::string> session_cookie_of_ses_info(std::string_view ses_info) {
  if (ses_info.starts_with("SessionID=")) return session_cookie(ses_info);
  return session_cookie(fmt::format("SessionID={}", ses_info));
}

HilinkErrorInfo hilink_error_info(int code) {
  switch (code) {
#define HILINK_ERROR(number, rule, meaning) \
  case number:                              \
    return {HilinkRule::rule, meaning};
#include "supervisor/hilink_errors.def"
#undef HILINK_ERROR
    default: break;
  }
  if (code / 1000 == 101 || code / 1000 == 103) return {HilinkRule::Human, "SIM card or device fault"};
  if (code / 100 == 1077) return {HilinkRule::Surface, "profile error"};
  return {HilinkRule::Surface, "a code not known here"};
}

Error hilink_error(std::string_view path, int code) {
  const auto info = hilink_error_info(code);
  return Error{errc_of(info.rule), 0, fmt::format("{}: error {} ({})", path, code, info.meaning)};
}

const char* to_string(ConnectionState state) {
  switch (state) {
    case ConnectionState::Connected: return "connected";
    case ConnectionState::Connecting: return "connecting";
    case ConnectionState::Disconnected: return "disconnected";
    case ConnectionState::Disconnecting: return "disconnecting";
    case ConnectionState::Failed: return "failed";
    case ConnectionState::NoRegistration: return "no_registration";
    case ConnectionState::InvalidProfile: return "invalid_profile";
    case ConnectionState::NotAllowed: return "not_allowed";
    case ConnectionState::RoamingNotAllowed: return "roaming_not_allowed";
    case ConnectionState::DataLimit: return "data_limit";
    case ConnectionState::Unknown: return "unknown";
  }
  return "unknown";
}

ConnectionState connection_state_of(int code) {
  switch (code) {
    case 900: return ConnectionState::Connecting;
    case 901: return ConnectionState::Connected;
    case 902: return ConnectionState::Disconnected;
    case 903: return ConnectionState::Disconnecting;
    case 904:
    case 906: return ConnectionState::Failed;
    case 905:
    case 907: return ConnectionState::NoRegistration;
    case 7:
    case 11:
    case 14:
    case 37: return ConnectionState::NotAllowed;
    case 12:
    case 13: return ConnectionState::RoamingNotAllowed;
    case 201: return ConnectionState::DataLimit;
    case 2:
    case 3:
    case 5:
    case 8:
    case 20:
    case 21:
    case 23: return ConnectionState::InvalidProfile;
    default: break;
  }
  if (code >= 27 && code <= 33) return ConnectionState::InvalidProfile;
  if (code >= 112 && code <= 115) return ConnectionState::NoRegistration;
  return ConnectionState::Unknown;
}

Result<ModemStatus> read_modem_status(const XmlElement& response) {
  auto code = required_number<int>(response, "ConnectionStatus");
  if (!code) return std::unexpected(std::move(code).error());
  ModemStatus status;
  status.connection_code = *code;
  status.connection = connection_state_of(*code);
  status.sim_status = number_of<int>(response, "SimStatus");
  status.service_status = number_of<int>(response, "ServiceStatus");
  if (auto roaming = number_of<int>(response, "RoamingStatus")) status.roaming = *roaming == 1;
  status.signal_icon = number_of<int>(response, "SignalIcon");
  if (!status.signal_icon) status.signal_icon = number_of<int>(response, "SignalIconNr");
  // The Ex variant is the finer one; a firmware that doesn't fill it sends 0 or nothing.
  const int coarse = number_of<int>(response, "CurrentNetworkType").value_or(-1);
  const int fine = number_of<int>(response, "CurrentNetworkTypeEx").value_or(0);
  status.network_type = network_type_of(fine != 0 ? fine : coarse);
  if (status.network_type.empty()) status.network_type = network_type_of(coarse);
  if (auto address = Address::parse(response.text_of("WanIPAddress")); address && !address->is_unspecified())
    status.wan_address = *address;
  for (const char* name : {"PrimaryDns", "SecondaryDns", "PrimaryIPv6Dns", "SecondaryIPv6Dns"})
    if (auto address = Address::parse(response.text_of(name)); address && !address->is_unspecified())
      status.dns.push_back(*address);
  return status;
}

const char* to_string(SimState state) {
  switch (state) {
    case SimState::Absent: return "absent";
    case SimState::Fault: return "fault";
    case SimState::Ready: return "ready";
    case SimState::PinDisabled: return "pin_disabled";
    case SimState::Checking: return "checking";
    case SimState::PinRequired: return "pin_required";
    case SimState::PukRequired: return "puk_required";
    case SimState::Unknown: return "unknown";
  }
  return "unknown";
}

Result<PinStatus> read_pin_status(const XmlElement& response) {
  auto code = required_number<int>(response, "SimState");
  if (!code) return std::unexpected(std::move(code).error());
  return PinStatus{*code, sim_state_of(*code), number_of<int>(response, "SimPinTimes"),
                   number_of<int>(response, "SimPukTimes")};
}

Signal read_signal(const XmlElement& response) {
  Signal signal;
  signal.rsrp_dbm = level_of(response, "rsrp");
  signal.rsrq_db = level_of(response, "rsrq");
  signal.rssi_dbm = level_of(response, "rssi");
  signal.sinr_db = level_of(response, "sinr");
  signal.rscp_dbm = level_of(response, "rscp");
  signal.ecio_db = level_of(response, "ecio");
  signal.cell_id = copy_of(response, "cell_id");
  signal.pci = copy_of(response, "pci");
  signal.band = copy_of(response, "band");
  signal.plmn = copy_of(response, "plmn");
  return signal;
}

Result<DeviceInformation> read_device_information(const XmlElement& response) {
  DeviceInformation info;
  info.name = copy_of(response, "DeviceName");
  info.serial = copy_of(response, "SerialNumber");
  info.imei = copy_of(response, "Imei");
  info.imsi = copy_of(response, "Imsi");
  info.iccid = copy_of(response, "Iccid");
  info.msisdn = copy_of(response, "Msisdn");
  info.hardware_version = copy_of(response, "HardwareVersion");
  info.software_version = copy_of(response, "SoftwareVersion");
  info.webui_version = copy_of(response, "WebUIVersion");
  info.mac = copy_of(response, "MacAddress1");
  info.product_family = copy_of(response, "ProductFamily");
  info.classify = copy_of(response, "Classify");
  info.workmode = copy_of(response, "workmode");
  if (auto uptime = number_of<std::uint32_t>(response, "uptime")) info.uptime = Seconds{*uptime};
  if (info.name.empty() && info.imei.empty() && info.software_version.empty())
    return fail(Errc::Protocol, "neither DeviceName nor Imei nor SoftwareVersion");
  return info;
}

Result<TrafficStatistics> read_traffic_statistics(const XmlElement& response) {
  if (response.child("TotalDownload") == nullptr && response.child("CurrentDownload") == nullptr)
    return fail(Errc::Protocol, "neither TotalDownload nor CurrentDownload");
  const auto count = [&](std::string_view name) { return number_of<std::uint64_t>(response, name).value_or(0); };
  const auto duration = [&](std::string_view name) {
    return Seconds{number_of<std::uint32_t>(response, name).value_or(0)};
  };
  TrafficStatistics traffic;
  traffic.current_connect_time = duration("CurrentConnectTime");
  traffic.current_upload_bytes = count("CurrentUpload");
  traffic.current_download_bytes = count("CurrentDownload");
  traffic.upload_bytes_per_s = count("CurrentUploadRate");
  traffic.download_bytes_per_s = count("CurrentDownloadRate");
  traffic.total_upload_bytes = count("TotalUpload");
  traffic.total_download_bytes = count("TotalDownload");
  traffic.total_connect_time = duration("TotalConnectTime");
  return traffic;
}

Result<NetMode> read_net_mode(const XmlElement& response) {
  NetMode mode{copy_of(response, "NetworkMode"), copy_of(response, "NetworkBand"), copy_of(response, "LTEBand")};
  if (mode.mode.empty()) return fail(Errc::Protocol, "no NetworkMode");
  return mode;
}

Result<std::string> net_mode_request(const NetMode& mode) {
  for (const auto& part : {mode.mode, mode.band, mode.lte_band}) {
    const bool is_hex = !part.empty() && part.size() <= 16 && std::ranges::all_of(part, [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    });
    if (!is_hex) return fail(Errc::InvalidArgument, "network mode: {} isn't hex", excerpt_of(part));
  }
  return hilink_request({{"NetworkMode", mode.mode}, {"NetworkBand", mode.band}, {"LTEBand", mode.lte_band}});
}

Result<Profiles> read_profiles(const XmlElement& response) {
  auto current = required_number<int>(response, "CurrentProfile");
  if (!current) return std::unexpected(std::move(current).error());
  Profiles out;
  out.current = *current;
  const auto* list = response.child("Profiles");
  if (list == nullptr) return out;
  for (const auto& profile : list->children) {
    if (profile.name != "Profile") continue;
    out.profiles.push_back(ApnProfile{number_of<int>(profile, "Index").value_or(0), copy_of(profile, "Name"),
                                      copy_of(profile, "ApnName"), copy_of(profile, "Username"),
                                      profile.text_of("ReadOnly") != "0" && !profile.text_of("ReadOnly").empty()});
  }
  return out;
}

Result<Plmn> read_plmn(const XmlElement& response) {
  Plmn plmn{copy_of(response, "FullName"), copy_of(response, "ShortName"), copy_of(response, "Numeric"),
            copy_of(response, "Rat")};
  if (response.child("Numeric") == nullptr && response.child("FullName") == nullptr)
    return fail(Errc::Protocol, "neither Numeric nor FullName");
  return plmn;
}

Result<bool> read_data_switch(const XmlElement& response) {
  auto on = required_number<int>(response, "dataswitch");
  if (!on) return std::unexpected(std::move(on).error());
  return *on != 0;
}

Result<LoginState> read_login_state(const XmlElement& response) {
  auto state = required_number<int>(response, "State");
  if (!state) return std::unexpected(std::move(state).error());
  LoginState out;
  out.state = *state;
  out.password_type = number_of<int>(response, "password_type").value_or(0);
  out.is_scram = number_of<int>(response, "extern_password_type").value_or(0) == 1;
  out.is_oaep = number_of<int>(response, "rsapadingtype").value_or(0) == 1;
  out.wait_time = Seconds{60 * std::clamp(number_of<int>(response, "remainwaittime").value_or(0), 0, 24 * 60)};
  return out;
}

}  // namespace dongle
