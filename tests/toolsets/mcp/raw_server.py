"""An MCP server over stdio that misbehaves on request, without an SDK, so that it starts in a blink:

    python raw_server.py [FOLDER]

FOLDER/starts counts its starts; a file FOLDER/broken makes it end at once; FOLDER/tools.json replaces its tools.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else None
LOCK = threading.Lock()
ANY = {"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]}
NOTHING = {"type": "object", "properties": {}}


def told(name, schema=NOTHING, **more):
    return {"name": name, "description": f"It does {name}.", "inputSchema": schema, **more}


TOOLS = [
    told("echo", ANY, annotations={"readOnlyHint": True, "openWorldHint": False}),
    told("wait", ANY),
    told("die"),
    told("hang"),
    told("big", {"type": "object", "properties": {"size": {"type": "integer"}}}),
    told("nested", {"type": "object", "properties": {"levels": {"type": "integer"}}}),
    told("flood"),
    told("garbage"),
    told("change", {"type": "object", "properties": {"text": {"type": "string"}}}),
    told("progress"),
    told("ask"),
    told("sample"),
    told("fail"),
    told("environment", ANY),
    told("wrong"),
    told("pid"),
    told("confess"),
    told("endless"),
]


def send(message):
    data = json.dumps({"jsonrpc": "2.0", **message})
    with LOCK:
        sys.stdout.write(data + "\n")
        sys.stdout.flush()


def result(request, text, **more):
    send({"id": request["id"], "result": {"content": [{"type": "text", "text": text}], **more}})


def tools():
    if FOLDER is not None and (FOLDER / "tools.json").exists():
        return json.loads((FOLDER / "tools.json").read_text())
    return TOOLS


class Server:
    def __init__(self):
        self.cancelled = []
        self.waiting = {}
        self.answers = {}

    def initialize(self, request):
        can = {"tools": {"listChanged": True}, "resources": {}, "prompts": {}}
        info = {"name": "raw", "version": "1"}
        found = {"protocolVersion": "2025-11-25", "capabilities": can, "serverInfo": info, "instructions": "Be {kind}."}
        send({"id": request["id"], "result": found})

    def call(self, request):  # noqa: C901  # a misdeed each
        name, given = request["params"]["name"], request["params"].get("arguments") or {}
        if name == "echo":
            result(request, given["value"])
        elif name == "wait":  # until `echo` of the same value was heard, or it is cancelled
            self.waiting[request["id"]] = request
        elif name == "die":
            sys.stderr.write("out of oil\n")
            sys.stderr.flush()
            os._exit(3)
        elif name == "hang":
            time.sleep(600)
        elif name == "big":
            data = "x" * given.get("size", 50_000_000)
            send({"id": request["id"], "result": {"content": [{"type": "text", "text": data}]}})
        elif name == "nested":
            levels = given["levels"]
            deep = '{"a":' * levels + "1" + "}" * levels
            with LOCK:
                found = f'{{"content":[],"structuredContent":{deep}}}'
                sys.stdout.write(f'{{"jsonrpc":"2.0","id":{json.dumps(request["id"])},"result":{found}}}\n')
                sys.stdout.flush()
        elif name == "flood":
            self.flood(request)
        elif name == "garbage":
            with LOCK:
                sys.stdout.write("I am no message\n\n{\n")
                sys.stdout.flush()
            result(request, "after the garbage")
        elif name == "change":
            changed = [*TOOLS, told("new", description=given.get("text", "It is new."))]
            changed[-1]["description"] = given.get("text", "It is new.")
            (FOLDER / "tools.json").write_text(json.dumps(changed))
            send({"method": "notifications/tools/list_changed"})
            result(request, "changed")
        elif name == "progress":
            token = request["params"]["_meta"]["progressToken"]
            params = {"progressToken": token, "progress": 2, "total": 2, "message": "halfway"}
            send({"method": "notifications/progress", "params": params})
            result(request, "done")
        elif name == "ask":
            schema = {"type": "object", "properties": {"port": {"type": "integer", "minimum": 1}}, "required": ["port"]}
            self.ask(request, "elicitation/create", {"message": "Which port?", "requestedSchema": schema})
        elif name == "sample":
            said = [{"role": "user", "content": {"type": "text", "text": "How are you?"}}]
            self.ask(request, "sampling/createMessage", {"messages": said, "maxTokens": 100})
        elif name == "fail":
            result(request, "the disk is full", isError=True)
        elif name == "environment":
            result(request, os.environ.get(given["value"], "not set"))
        elif name == "pid":
            result(request, str(os.getpid()))
        elif name == "confess":
            sys.stderr.write(f"the token is {os.environ['MY_TOKEN']}\n")
            sys.stderr.flush()
            os._exit(1)
        elif name == "endless":
            while True:
                sys.stdout.write("x" * 65536)
        elif name == "wrong":
            send({"id": request["id"], "result": {"content": "no list"}})
        else:
            send({"id": request["id"], "error": {"code": -32602, "message": f"Unknown tool: {name}"}})

    def ask(self, request, method, params):
        asked = f"q{request['id']}"
        self.answers[asked] = request
        send({"id": asked, "method": method, "params": params})

    def flood(self, request):
        while True:
            send({"method": "notifications/message", "params": {"level": "info", "data": "again " * 20}})

    def take(self, request):
        method = request.get("method")
        if method is None:
            asked = self.answers.pop(request.get("id"), None)
            if asked is not None:
                result(asked, json.dumps(request.get("result", request.get("error")), sort_keys=True))
        elif method == "initialize":
            self.initialize(request)
        elif method == "tools/list":
            send({"id": request["id"], "result": {"tools": tools()}})
        elif method == "tools/call":
            self.call(request)
        elif method == "resources/list":
            found = [{"uri": "memo://one", "name": "one", "description": "The first memo"}]
            send({"id": request["id"], "result": {"resources": found}})
        elif method == "resources/read":
            contents = [{"uri": request["params"]["uri"], "text": "Remember the milk."}]
            send({"id": request["id"], "result": {"contents": contents}})
        elif method == "prompts/list":
            found = [{"name": "greet", "description": "A greeting", "arguments": [{"name": "who"}]}]
            send({"id": request["id"], "result": {"prompts": found}})
        elif method == "prompts/get":
            who = request["params"]["arguments"]["who"]
            said = [{"role": "user", "content": {"type": "text", "text": f"Greet {who}."}}]
            send({"id": request["id"], "result": {"messages": said}})
        elif method == "notifications/cancelled":
            gone = self.waiting.pop(request["params"]["requestId"], None)
            if gone is not None and FOLDER is not None:
                (FOLDER / "cancelled").write_text(gone["params"]["arguments"]["value"])
        elif "id" in request:
            send({"id": request["id"], "error": {"code": -32601, "message": "Method not found"}})


def main():
    if FOLDER is not None:
        starts = FOLDER / "starts"
        starts.write_text(str(int(starts.read_text()) + 1 if starts.exists() else 1))
        if (FOLDER / "broken").exists():
            sys.exit("there is no oil at all")
    server = Server()
    for line in sys.stdin:
        server.take(json.loads(line))


main()
