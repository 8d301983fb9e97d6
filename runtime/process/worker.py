# A script processor in Python: reads events (lines of JSON) from descriptor 3 and answers each on descriptor 4 before it
# begins the next one, so that the collector knows which event main() is busy with. Runs on CPython 3.8 and later.
#
# argv: the processor's file, its arguments.
import sys


def work():
    import functools
    import importlib.util
    import json
    import os

    events, replies = 3, 4
    longest_reply = 1 << 20
    path = sys.argv[1]

    def send(answer):
        data = answer.encode()
        while data:
            data = data[os.write(replies, data):]

    def described(error):
        """The error in a line, with the place in the processor where it left it."""
        place, trace = "", error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == path:
                place = " (%s:%d)" % (os.path.basename(path), trace.tb_lineno)
            trace = trace.tb_next
        try:
            text = str(error)
        except BaseException:
            text = "?"
        return (type(error).__name__ + (": " + text if text else ""))[:500] + place

    def load():
        sys.argv[:] = sys.argv[1:]
        sys.path[0] = os.path.dirname(path)
        sys.dont_write_bytecode = True
        name = os.path.splitext(os.path.basename(path))[0]
        spec = importlib.util.spec_from_file_location(name, path)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        main = getattr(module, "main", None)
        if not callable(main):
            raise TypeError("it has no function main(event)")
        check(main)
        return main

    def check(main):
        code = getattr(main, "__code__", None)
        if code is not None and code.co_flags & 0x280:  # CO_COROUTINE, CO_ASYNC_GENERATOR
            raise TypeError("main(event) must be a plain function, not an async one")
        plain = code is not None and not main.__defaults__ and not main.__kwdefaults__ and not code.co_flags & 0xc
        if plain and code.co_argcount == 1 and not code.co_kwonlyargcount and not hasattr(main, "__self__"):
            return
        import inspect  # takes long to import
        try:
            inspect.signature(main).bind(None)
        except TypeError:
            raise TypeError("main must take one argument, the event") from None
        except ValueError:
            pass  # a function in C without a signature

    @functools.lru_cache(1024)
    def identity(*statement):
        import hashlib
        text = json.dumps(statement, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]

    try:
        main = load()
    except BaseException as error:  # SystemExit too: a processor that ends cannot process
        send(json.dumps({"error": described(error)}, separators=(",", ":")) + "\n")
        return
    send('{"ready":true}\n')

    loads = json.loads
    dumps = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    write = os.write
    plain = {"pass": b'{"action":"pass"}\n', "drop": b'{"action":"drop"}\n'}
    members = {"annotate": "annotations", "enrich": "extra"}

    def answer_to(line):
        event = loads(line)
        event["ts_ns"] = event["timestamp_ns"]
        event["symbol"] = event["function"]
        event["tid"] = event["thread_id"]
        event["variable_ids"] = [event["variable_id"]]
        sql = event["sql_context"]
        event["sql_context_id"] = sql and identity(sql["driver"], sql["database"], sql["statement"])
        reply = main(event)
        action = reply["action"] if isinstance(reply, dict) else reply
        if isinstance(action, str):
            if action in plain:
                return plain[action]
            if action in members:
                member = members[action]
                content = reply.get(member) if isinstance(reply, dict) else None
                if content is None:
                    return plain["pass"]
                answer = dumps({"action": action, member: content}).encode()
                if len(answer) < longest_reply:
                    return answer + b"\n"
                raise ValueError("the reply is longer than 1 MiB")
        raise ValueError("main(event) returned no action: pass, drop, annotate or enrich")

    rest = b""
    while True:
        data = os.read(events, 1 << 18)
        if not data:
            return
        lines = (rest + data).split(b"\n")
        rest = lines.pop()
        for line in lines:
            try:
                answer = answer_to(line)
            except BaseException as error:
                answer = (dumps({"error": described(error)}) + "\n").encode()
            done = write(replies, answer)
            while done < len(answer):
                done += write(replies, answer[done:])


work()
