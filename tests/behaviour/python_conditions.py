"""Which changes of a variable are recorded: conditions, shares and limits in the configuration."""

import harness


class Conditions(harness.Case):
    def recorded(self, terms, source, name="v"):
        """The numbers that `name` held after each recorded change, and how many events were left out, per interpreter."""
        seen = []

        def check(run):
            seen.append(([event["after"]["value"] for event in run.of(name)], run.summary["filtered"]))

        config = f'first_bindings = "skip"\n[[watch]]\nfile = "app.py"\nunknown = ["{name}"]\n{terms}\n'
        self.on_all({"app.py": source}, check, config=config)
        self.assertTrue(seen)
        return seen

    def test_a_condition_picks_the_crossing(self):
        source = "def main():\n    v = 0\n    for i in range(200):\n        v = i\n    print(v)\nmain()\n"
        for values, filtered in self.recorded('when = "new > 100 and old <= 100"', source):
            self.assertEqual((values, filtered), ([101], 199))

    def test_a_condition_judges_stores_to_memory(self):
        source = "v = bytearray(8)\nfor i in range(8):\n    v[i] = i * 40 % 256\nprint(bytes(v).hex())\n"
        for values, filtered in self.recorded('when = "new >= 200 and line == 3"', source):
            self.assertEqual((values, filtered), ([200, 240], 6))

    def test_what_cannot_be_judged_is_recorded(self):
        source = "v = None\nv = 3\nv = 'text'\nv = 4\n"
        for values, filtered in self.recorded('when = "new > 3"', source):
            self.assertEqual((values, filtered), (["text", 4], 1))

    def test_a_limit_and_a_share(self):
        source = "def main():\n    v = 0\n    for i in range(2000):\n        v = i\nmain()\n"
        for values, filtered in self.recorded("sample = 0", source):
            self.assertEqual((values, filtered), ([], 2000))
        for values, filtered in self.recorded("max_per_second = 5", source):
            self.assertIn(len(values), (5, 10))  # a second may end meanwhile
            self.assertEqual(len(values) + filtered, 2000)


if __name__ == "__main__":
    harness.main()
