#include "runtime/process/secret_names.h"

#include <algorithm>

namespace watcher {
namespace {

constexpr std::size_t kMostKnown = 4096;
constexpr std::size_t kLongestKnown = 128;

/// Wherever they stand in a name.
constexpr std::string_view kRoots[] = {"password",
                                       "passwd",
                                       "passwort",
                                       "passphrase",
                                       "passcode",
                                       "passkey",
                                       "pwd",
                                       "secret",
                                       "token",
                                       "credential",
                                       "creds",
                                       "authorization",
                                       "oauth",
                                       "bearer",
                                       "jwt",
                                       "csrf",
                                       "xsrf",
                                       "cookie",
                                       "sessionid",
                                       "sessid",
                                       "sessionkey",
                                       "sessiondata",
                                       "apikey",
                                       "accesskey",
                                       "authkey",
                                       "authcode",
                                       "authheader",
                                       "basicauth",
                                       "proxyauth",
                                       "httpauth",
                                       "privatekey",
                                       "privkey",
                                       "signingkey",
                                       "signkey",
                                       "encryptionkey",
                                       "encryptkey",
                                       "decryptionkey",
                                       "decryptkey",
                                       "cryptokey",
                                       "masterkey",
                                       "sharedkey",
                                       "recoverykey",
                                       "sshkey",
                                       "rsakey",
                                       "dsakey",
                                       "aeskey",
                                       "hmackey",
                                       "pgpkey",
                                       "gpgkey",
                                       "sslkey",
                                       "tlskey",
                                       "certkey",
                                       "pemkey",
                                       "deploykey",
                                       "servicekey",
                                       "storagekey",
                                       "accountkey",
                                       "clientkey",
                                       "consumerkey",
                                       "licensekey",
                                       "licencekey",
                                       "subscriptionkey",
                                       "serverkey",
                                       "rootkey",
                                       "adminkey",
                                       "apisig",
                                       "creditcard",
                                       "cardnumber",
                                       "cardnum",
                                       "ccnumber",
                                       "ccnum",
                                       "cvv",
                                       "securitycode",
                                       "pincode",
                                       "iban",
                                       "accountnumber",
                                       "routingnumber",
                                       "socialsecurity",
                                       "ssnumber",
                                       "taxid",
                                       "passportn",
                                       "driverslicense",
                                       "driverlicense",
                                       "twofactor",
                                       "totp",
                                       "onetimecode",
                                       "onetimepass",
                                       "verificationcode",
                                       "recoverycode",
                                       "backupcode",
                                       "securityanswer",
                                       "secretanswer",
                                       "seedphrase",
                                       "mnemonic",
                                       "connectionstring",
                                       "connstr",
                                       "databaseurl",
                                       "mongouri",
                                       "mongodburi",
                                       "redisurl",
                                       "keystore",
                                       "pkcs12",
                                       "authentication"};

/// Alone.
constexpr std::string_view kNames[] = {"auth",    "pass",  "pin",      "otp",      "mfa",      "tan",   "puk",
                                       "cvc",     "ssn",   "sid",      "cred",     "session",  "sess",  "salt",
                                       "dsn",     "pem",   "kek",      "dek",      "hmac",     "xauth", "userpin",
                                       "cardpin", "dburl", "authdata", "authinfo", "userauth", "myauth"};

/// At the end of a longer name: `db_pass`, not `bypass`.
constexpr std::string_view kPass = "pass";
constexpr std::string_view kOtherPasses[] = {"bypass",     "compass",   "encompass", "surpass",    "trespass",
                                             "overpass",   "underpass", "lowpass",   "highpass",   "bandpass",
                                             "allpass",    "firstpass", "lastpass",  "nextpass",   "multipass",
                                             "singlepass", "onepass",   "twopass",   "renderpass", "impass"};

/// Names that hold a root and mean something else.
constexpr std::string_view kHarmless[] = {
    "tokenizer",   "tokenizers",  "tokenize",     "tokenized",    "tokentype",    "tokencount",
    "tokencounts", "tokenlimit",  "numtokens",    "ntokens",      "maxtokens",    "mintokens",
    "totaltokens", "inputtokens", "outputtokens", "maxnewtokens", "prompttokens", "completiontokens",
    "secretary",   "secretariat", "passwordless", "cookiecutter"};

template <std::size_t kCount>
bool is_one_of(const std::string_view (&list)[kCount], std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

char lower(char character) {
  return character >= 'A' && character <= 'Z' ? static_cast<char>(character + 32) : character;
}

bool is_stripped(char character) {
  return character == '_' || character == '-' || character == '$' || character == '@';
}

bool is_of_name(char character) {
  const char small = lower(character);
  return (small >= 'a' && small <= 'z') || (character >= '0' && character <= '9') || is_stripped(character) ||
         static_cast<unsigned char>(character) >= 0x80;
}

/// `also` is kept beside what names are made of.
std::string bare(std::string_view text, char also = '\0') {
  std::string name;
  for (const char character : text)
    if ((is_of_name(character) && !is_stripped(character)) || (also != '\0' && character == also))
      name += lower(character);
  return name;
}

bool fits(std::string_view pattern, std::string_view name) {
  const std::size_t star = pattern.find('*');
  if (star == pattern.npos) return pattern == name;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (std::size_t at = star; at <= name.size(); ++at)
    if (fits(rest, name.substr(at))) return true;
  return false;
}

bool fits_any(const std::vector<std::string>& patterns, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) { return fits(pattern, name); });
}

std::vector<std::string> patterns_in(std::string_view list) {
  std::vector<std::string> patterns;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(','), list.size());
    std::string pattern = bare(list.substr(0, end), '*');
    if (!pattern.empty()) patterns.push_back(std::move(pattern));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return patterns;
}

bool is_known_secret(std::string_view name) {
  if (is_one_of(kHarmless, name)) return false;
  for (const std::string_view root : kRoots)
    if (name.find(root) != name.npos) return true;
  if (is_one_of(kNames, name)) return true;
  if (!name.ends_with(kPass)) return false;
  return std::none_of(std::begin(kOtherPasses), std::end(kOtherPasses),
                      [&](std::string_view other) { return name.ends_with(other); });
}

}  // namespace

SecretNames::SecretNames(std::string_view names, std::string_view allow)
    : names_(patterns_in(names)), allow_(patterns_in(allow)) {}

bool SecretNames::is_secret(std::string_view name) const {
  if (fits_any(allow_, name)) return false;
  return is_known_secret(name) || fits_any(names_, name);
}

// The whole as one name, too: "api key" is no different from "api_key".
bool SecretNames::look_at(std::string_view text) const {
  const std::string whole = bare(text);
  if (fits_any(allow_, whole)) return false;
  bool one_name = true;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && is_of_name(text[end])) ++end;
    one_name = one_name && end == text.size() && at == 0;
    if (end > at && is_secret(bare(text.substr(at, end - at)))) return true;
    at = end + 1;
  }
  return !one_name && text.find('.') == text.npos && is_secret(whole);
}

bool SecretNames::matches(std::string_view text) {
  const auto found = known_.find(text);
  if (found != known_.end()) return found->second;
  const bool secret = look_at(text);
  if (text.size() > kLongestKnown) return secret;
  if (known_.size() == kMostKnown) known_.clear();
  known_.emplace(text, secret);
  return secret;
}

}  // namespace watcher
