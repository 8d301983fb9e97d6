"""What Python's own calls let the kernel write into a watched buffer: the calls do as they always did, and are events."""

import harness

PROGRAM = """from watcher import watch
import ctypes, fcntl, io, os, select, socket, struct, tempfile, termios
libc = ctypes.CDLL(None, use_errno=True)

def show(what, result):
    print(what, result, buf[:48].hex())

def main():
    global buf
    buf = watch(bytearray(256), name="buf")
    file = tempfile.TemporaryFile(buffering=0)
    file.write(bytes(range(200)))
    file.seek(0)
    show("readinto", file.readinto(memoryview(buf)[:20]))
    show("readv", os.readv(file.fileno(), [memoryview(buf)[20:24], memoryview(buf)[30:40]]))
    show("preadv", os.preadv(file.fileno(), [memoryview(buf)[40:44]], 100))
    buffered = io.BufferedReader(file, 16)
    show("buffered", buffered.readinto(memoryview(buf)[1:40]))
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for text in (b"first", b"second", b"third"):
        far.send(text)
    show("recv_into", near.recv_into(memoryview(buf)[3:30]))
    show("recvfrom_into", near.recvfrom_into(memoryview(buf)[9:30])[0])
    show("recvmsg_into", near.recvmsg_into([memoryview(buf)[0:2], memoryview(buf)[20:30]])[0])
    ends = os.pipe()
    os.write(ends[1], b"12345")
    show("ioctl", fcntl.ioctl(ends[0], termios.FIONREAD, buf, True))
    at = ctypes.addressof(ctypes.c_char.from_buffer(buf))
    show("getcwd", bool(libc.getcwd(ctypes.c_void_p(at), ctypes.c_size_t(200))))
    del at
    buf[:8] = struct.pack("ihh", ends[0], select.POLLIN, 0)
    show("poll", libc.poll((ctypes.c_char * 8).from_buffer(buf), 1, 0))
    show("again", libc.stat(b"/nothing/there", (ctypes.c_char * 200).from_buffer(buf)))
    print(buf.hex())
main()
"""
KERNEL_LINES = {14, 15, 16, 22, 23, 24, 29, 32}
# Where Python copies some of it or all from memory of its own, by stores.
COPIED = {18, 27}


class KernelCalls(harness.Case):
    def test_calls_into_a_watched_buffer_are_events_with_their_line(self):
        def check(run):
            content = bytearray(256)
            from_kernel, called = set(), {}
            for event in run.of("buf"):
                for delta in event["deltas"]:
                    if "offset" in delta:
                        self.assertEqual(content[delta["offset"]], int(delta["before"], 16), event)
                        content[delta["offset"]] = int(delta["after"], 16)
                if event["op"] == "kernel_write":
                    from_kernel.add(event["line"])
                    called.setdefault(event["line"], set()).add(event["system_call"])
            self.assertEqual(content.hex(), run.stdout.decode().splitlines()[-1])
            self.assertEqual(from_kernel - COPIED, KERNEL_LINES)
            self.assertEqual([called[line] for line in (14, 22, 29)], [{"read"}, {"recvfrom"}, {"getcwd"}])

        self.on_all({"program.py": PROGRAM}, check, users=(None, harness.NOBODY))


if __name__ == "__main__":
    harness.main()
