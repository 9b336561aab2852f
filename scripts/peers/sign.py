"""Writes assertions as a careful Python program does: PyJWT, the key loaded once."""

import json
import sys
import time
import uuid

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

config_path, count, out_path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(config_path, encoding="utf-8") as file:
    config = json.load(file)
settings = config["boxAppSettings"]
auth = settings["appAuth"]
key = load_pem_private_key(auth["privateKey"].encode(), auth["passphrase"].encode())
with open(out_path, "w", encoding="ascii") as out:
    for _ in range(count):
        claims = {
            "iss": settings["clientID"],
            "sub": config["enterpriseID"],
            "box_sub_type": "enterprise",
            "aud": "https://api.box.com/oauth2/token",
            "jti": uuid.uuid4().hex,
            "exp": int(time.time()) + 30,
        }
        out.write(jwt.encode(claims, key, "RS256", headers={"kid": auth["publicKeyID"]}) + "\n")
