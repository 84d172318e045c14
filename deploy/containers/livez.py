"""Exit 0 when this container's service answers /livez with 200: its health check, for images without curl."""

import http.client
import os
import sys

PATIENCE = 4.0

port = int(os.environ.get(f"{os.environ.get('SERVICE', '').upper()}_HTTP_PORT") or 8000)
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
try:
    connection.request("GET", "/livez")
    status = connection.getresponse().status
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"/livez does not answer: {type(error).__name__}")
sys.exit(0 if status == http.client.OK else f"/livez answers {status}")
