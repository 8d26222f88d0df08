"""Receives webhooks and verifies their signatures: receiver.py PORT, with the subscription's secret in SECRET."""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

key = base64.b64decode(os.environ["SECRET"].removeprefix("whsec_"))


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent, stamp = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        mac = base64.b64encode(hmac.digest(key, f"{sent}.{stamp}.".encode() + body, hashlib.sha256))
        signatures = self.headers["webhook-signature"].split()
        genuine = any(hmac.compare_digest(f"v1,{mac.decode()}", signature) for signature in signatures)
        if genuine and abs(time.time() - int(stamp)) < 300:
            event = json.loads(body)
            print(f"verified {event['id']} {event['type']}", flush=True)
        self.send_response(204 if genuine else 401)
        self.end_headers()


HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
