"""What a program does to a watched array, as JavaScript and to its model: see node_oracle_objects.py."""

from node_oracle_model import HOLE, UNDEFINED, Box, text


class Arrays:
    """Part of Objects. Each gives (JavaScript, what it does to the model)."""

    def on_array(self, e, box):
        data = box.data
        forms = [self.push, self.push, self.pop, self.shift, self.unshift, self.splice, self.splice, self.reorder, self.fill, self.cut, self.extra]
        return self.random.choice(forms + [self.store_item] * 4)(e, box, data)

    def store_item(self, e, box, data):
        at, (text, value) = self.random.randrange(len(data) + 2), self.value()

        def run():
            before, new = data[at] if at < len(data) else HOLE, self.same(value)
            op = "append" if at >= len(data) else "setitem"
            data.extend([HOLE] * (at + 1 - len(data)))
            data[at] = new
            self.stored(box, op, at, before, new)

        if at < len(data) and self.random.random() < 0.15:
            return f"delete {e}[{at}]", lambda: self.take_item(box, data, at)
        return f"{e}[{at}] = {text}", run

    def take_item(self, box, data, at):
        if at < len(data) and data[at] is not HOLE:
            before, data[at] = data[at], HOLE
            self.stored(box, "delitem", at, before, HOLE)

    def push(self, e, box, data):
        values = [self.value() for _ in range(self.random.randrange(1, 3))]

        def run():
            for new in [self.same(value) for _, value in values]:
                data.append(new)
                self.stored(box, "append", len(data) - 1, HOLE, new)

        return f"{e}.push({', '.join(text for text, _ in values)})", run

    def pop(self, e, box, data):
        def run():
            if data:
                before = data.pop()
                self.stored(box, "pop", len(data), UNDEFINED if before is HOLE else before, HOLE)

        return f"{e}.pop()", run

    def shift(self, e, box, data):
        def run():
            if data:
                before = data.pop(0)
                self.stored(box, "popleft", 0, UNDEFINED if before is HOLE else before, HOLE)

        return f"{e}.shift()", run

    def unshift(self, e, box, data):
        values = [self.value() for _ in range(self.random.randrange(1, 3))]

        def run():
            new = [self.same(value) for _, value in values]
            data[0:0] = new
            for i, value in enumerate(new):
                self.stored(box, "appendleft", i, HOLE, value)

        return f"{e}.unshift({', '.join(text for text, _ in values)})", run

    def splice(self, e, box, data):
        start, gone = self.random.randrange(-2, len(data) + 2), self.random.randrange(3)
        values = [self.value() for _ in range(self.random.randrange(3))]

        def run():
            at = max(len(data) + start, 0) if start < 0 else min(start, len(data))
            new, removed = [self.same(value) for _, value in values], data[at:at + gone]
            data[at:at + gone] = new
            if removed or new:
                op = "insert" if not removed else "setitem" if new else "delitem"
                sides = [Box("array", part) if part else HOLE for part in (removed, new)]
                self.stored(box, op, f"{at}:{at + max(len(removed), len(new))}", *sides)

        return f"{e}.splice({', '.join([str(start), str(gone), *(text for text, _ in values)])})", run

    def whole(self, box, data, op, change):
        def run():
            before = text(box)
            data[:] = change(data[:])
            self.tell(box, op, None, before, text(box))

        return run

    def reorder(self, e, box, data):
        if self.random.random() < 0.4 or not all(type(value) is int for value in data):
            return f"{e}.reverse()", self.whole(box, data, "reverse", lambda row: row[::-1])
        return f"{e}.sort((x, y) => x - y)", self.whole(box, data, "sort", sorted)

    def fill(self, e, box, data):
        start, end, (text, value) = self.random.randrange(3), self.random.randrange(4), self.scalar()

        def run():
            stop = min(end, len(data))
            if stop > start:
                before, data[start:stop] = data[start:stop], [value] * (stop - start)
                self.stored(box, "setitem", f"{start}:{stop}", Box("array", before), Box("array", data[start:stop]))

        return f"{e}.fill({text}, {start}, {end})", run

    def cut(self, e, box, data):
        length = self.random.randrange(len(data) + 2)

        def run():
            before, data[length:] = len(data), []
            data.extend([HOLE] * (length - len(data)))
            self.tell(box, "setattr", "length", str(before), str(length))

        return f"{e}.length = {length}", run

    def extra(self, e, box, data):
        to, start = self.random.randrange(3), self.random.randrange(4)

        def change(row):
            moved = row[start:][:max(len(row) - to, 0)]
            return row[:to] + moved + row[to + len(moved):]

        return f"{e}.copyWithin({to}, {start})", self.whole(box, data, "change", change)
