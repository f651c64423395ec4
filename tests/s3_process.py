"""An S3 server in a process of its own: `python -m tests.s3_process` prints its port and ends with its parent's pipe.

It answers one request after the other, because moto checks a conditional write and carries it out in two steps.
"""

import logging
import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application, one = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def in_turn(environ, start_response):  # type: ignore[no-untyped-def]
        with one:
            return list(application(environ, start_response))

    server = make_server("127.0.0.1", 0, in_turn, threaded=True)
    print(server.port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
