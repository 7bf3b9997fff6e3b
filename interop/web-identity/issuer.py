"""An OpenID Connect issuer: two documents, over TLS, on a free port, which it
writes into ISSUER_DIR/port."""

import base64
import http.server
import json
import os
import ssl
import subprocess

DIR, HOST = os.environ["ISSUER_DIR"], os.environ["ISSUER_HOST"]


def modulus():
    text = subprocess.check_output(["openssl", "rsa", "-in", DIR + "/signing.key", "-noout", "-modulus"], stderr=subprocess.DEVNULL, text=True)
    return base64.urlsafe_b64encode(bytes.fromhex(text.strip().removeprefix("Modulus="))).rstrip(b"=").decode()


DOCUMENTS = {
    "/.well-known/openid-configuration": {"issuer": f"https://{HOST}", "jwks_uri": f"https://{HOST}/.well-known/jwks"},
    "/.well-known/jwks": {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one", "n": modulus(), "e": "AQAB"}]},
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(DOCUMENTS.get(self.path, {})).encode()
        self.send_response(200 if self.path in DOCUMENTS else 404)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(DIR + "/tls.pem", DIR + "/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
with open(DIR + "/port.new", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(DIR + "/port.new", DIR + "/port")
server.serve_forever()
