"""Makes Locust sign every request anew: PyJWT, the key loaded once."""

import os
import time
import uuid

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from locust import FastHttpUser, task

with open(os.environ["MINTMARK_PEER_KEY"], "rb") as file:
    KEY = load_pem_private_key(file.read(), None)


class Client(FastHttpUser):
    """Asks for one token after the other."""

    @task
    def token(self):
        """Signs and posts."""
        claims = {
            "iss": "client",
            "sub": "1",
            "box_sub_type": "user",
            "aud": "https://api.box.com/oauth2/token",
            "jti": uuid.uuid4().hex,
            "exp": int(time.time()) + 30,
        }
        self.client.post(
            "/oauth2/token",
            data={
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "client_id": "x",
                "client_secret": "y",
                "assertion": jwt.encode(claims, KEY, "RS256", headers={"kid": "abcdefgh"}),
            },
        )
