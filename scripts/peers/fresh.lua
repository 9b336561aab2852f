-- Makes wrk sign every request anew: LuaJIT calls OpenSSL's libcrypto, with the
-- key loaded once for each thread. MINTMARK_PEER_KEY names a PEM file.
local ffi = require("ffi")

ffi.cdef [[
typedef struct bio_st BIO;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct evp_md_st EVP_MD;
BIO *BIO_new_file(const char *name, const char *mode);
EVP_PKEY *PEM_read_bio_PrivateKey(BIO *from, EVP_PKEY **to, void *callback, void *argument);
const EVP_MD *EVP_sha256(void);
EVP_MD_CTX *EVP_MD_CTX_new(void);
int EVP_MD_CTX_reset(EVP_MD_CTX *context);
int EVP_DigestSignInit(EVP_MD_CTX *context, void **key, const EVP_MD *digest, void *engine, EVP_PKEY *pkey);
int EVP_DigestSign(EVP_MD_CTX *context, unsigned char *signature, size_t *length, const unsigned char *text, size_t size);
int EVP_EncodeBlock(unsigned char *to, const unsigned char *from, int length);
]]

local crypto = ffi.load("libcrypto.so.3")
local context = crypto.EVP_MD_CTX_new()
local signature = ffi.new("unsigned char[1024]")
local length = ffi.new("size_t[1]")
local text = ffi.new("unsigned char[4096]")
local key
local count = 0
local thread

local function encoded(bytes, size)
  local written = crypto.EVP_EncodeBlock(text, bytes, size)
  return (ffi.string(text, written):gsub("+", "-"):gsub("/", "_"):gsub("=", ""))
end

local header = encoded('{"alg":"RS256","typ":"JWT","kid":"abcdefgh"}', 44)

function init()
  local file = crypto.BIO_new_file(os.getenv("MINTMARK_PEER_KEY"), "r")
  key = crypto.PEM_read_bio_PrivateKey(file, nil, nil, nil)
  assert(key ~= nil, "the key cannot be read")
  thread = tostring(math.random(1e9)) .. os.time()
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
end

function request()
  count = count + 1
  local claims = '{"iss":"client","sub":"1","box_sub_type":"user","aud":"https://api.box.com/oauth2/token","jti":"'
    .. thread .. count .. '","exp":' .. os.time() + 30 .. "}"
  local input = header .. "." .. encoded(claims, #claims)
  length[0] = 1024
  crypto.EVP_MD_CTX_reset(context)
  crypto.EVP_DigestSignInit(context, nil, crypto.EVP_sha256(), nil, key)
  assert(crypto.EVP_DigestSign(context, signature, length, input, #input) == 1)
  local assertion = input .. "." .. encoded(signature, tonumber(length[0]))
  return wrk.format(nil, nil, nil,
    "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&client_id=x&client_secret=y&assertion=" .. assertion)
end
