// Writes assertions as a careful Node program does: the key loaded once, and
// node:crypto by hand ("crypto") or the npm package jsonwebtoken ("jsonwebtoken").
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

const [configPath, count, outPath, library] = process.argv.slice(2);
const config = JSON.parse(readFileSync(configPath, "utf8"));
const { clientID, appAuth } = config.boxAppSettings;
const key = createPrivateKey({ key: appAuth.privateKey, passphrase: appAuth.passphrase });
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const header = encode({ alg: "RS256", typ: "JWT", kid: appAuth.publicKeyID });
const claims = () => ({
  iss: clientID,
  sub: config.enterpriseID,
  box_sub_type: "enterprise",
  aud: "https://api.box.com/oauth2/token",
  jti: randomUUID(),
  exp: Math.floor(Date.now() / 1000) + 30,
});
const byHand = () => {
  const input = `${header}.${encode(claims())}`;
  return `${input}.${sign("sha256", Buffer.from(input), key).toString("base64url")}`;
};
let make = byHand;
if (library === "jsonwebtoken") {
  const jwt = createRequire(process.cwd() + "/")("jsonwebtoken");
  make = () => jwt.sign(claims(), key, { algorithm: "RS256", keyid: appAuth.publicKeyID, noTimestamp: true });
}
const out = openSync(outPath, "w");
for (let i = 0; i < Number(count); i++) writeSync(out, make() + "\n");
closeSync(out);
