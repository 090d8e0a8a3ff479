"""Methods written for the golden files of the metrics, and how they are varied."""

import random
import re

METHODS = [
    '''def total(self, items, tax=0.2):
    """Sum of the items, with tax."""
    amount = 0
    for item in items:
        amount += item.price * item.count
    return amount * (1 + tax)''',
    '''def find(self, name):
    # The first match wins.
    for entry in self.entries:
        if entry.name == name:
            return entry
    raise KeyError(name)''',
    '''def merge(self, other):
    result = dict(self.values)
    for key, value in other.values.items():
        if key in result:
            result[key] += value
        else:
            result[key] = value
    return result''',
    '''def halve(self, low, high):
    while low < high:
        middle = (low + high) // 2
        if self.test(middle):
            high = middle
        else:
            low = middle + 1
    return low''',
    '''def load(self, path):
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    finally:
        self.attempts += 1
    return json.loads(text)''',
    '''async def fetch(self, url, *, retries=3, **options):
    for attempt in range(retries):
        response = await self.session.get(url, **options)
        if response.status < 500:
            return await response.json()
        await asyncio.sleep(2 ** attempt)
    return None''',
    '''def squares(self, limit):
    return [n * n for n in range(limit) if n % 2 == 0]''',
    '''def grouped(self, rows):
    groups = {}
    for row in rows:
        groups.setdefault(row["kind"], []).append(row)
    return {kind: sorted(found, key=lambda row: row["date"]) for kind, found in groups.items()}''',
    '''def __repr__(self):
    return "<%s: %r>" % (self.__class__.__name__, self.name)''',
    '''def walk(self, node):
    yield node
    for child in node.children:
        yield from self.walk(child)''',
    '''def parse(self, text):
    left, _, right = text.partition("=")
    left = left.strip()
    right = right.strip() or None
    self.options[left] = right
    return left, right''',
    '''def render(self, context):
    parts = []
    for token in self.tokens:
        if token.kind == "text":
            parts.append(token.value)
        elif token.kind == "variable":
            value = context.get(token.value, "")
            parts.append(str(value))
        elif token.kind == "comment":
            continue
        else:
            raise SyntaxError("unknown token: " + token.kind)
    return "".join(parts)''',
    '''def distance(self, a, b):
    x1, y1 = a
    x2, y2 = b
    dx = x2 - x1
    dy = y2 - y1
    return (dx * dx + dy * dy) ** 0.5''',
    '''def compare(self, other):
    if not isinstance(other, Version):
        return NotImplemented
    for mine, theirs in zip(self.parts, other.parts):
        if mine != theirs:
            return -1 if mine < theirs else 1
    return len(self.parts) - len(other.parts)''',
    '''def clean(self):
    cleaned = super().clean()
    start = cleaned.get("start")
    end = cleaned.get("end")
    if start and end and end < start:
        self.add_error("end", "The end lies before the start.")
    return cleaned''',
    '''def query(self):
    sql = """
        SELECT name, size  # not a comment
        FROM files
        WHERE size > %s
    """
    cursor = self.connection.execute(sql, [self.limit])
    return cursor.fetchall()''',
    '''def greet(self, name):
    """Grüße."""
    gruß = "Grüß Gott, " + name  # mit Umlaut
    self.log("→ " + gruß)
    return gruß''',
    '''def ratio(self, done, total):
    if total == 0:
        return 0
    return done // total  # whole steps''',
    '''def classify(self, value):
    match value:
        case int() | float():
            return "number"
        case [first, *rest]:
            return "list of " + str(len(rest) + 1)
        case _:
            return "other"''',
    '''def cached(self, key):
    global hits
    if (value := self.cache.get(key)) is not None:
        hits = hits + 1
        return value
    value = self.cache[key] = self.compute(key)
    return value''',
    '''def window(self, values, size=3):
    out = []
    for start in range(0, len(values) - size + 1):
        part = values[start : start + size]
        out.append(sum(part) / size)
    else:
        out = out or [0.0]
    return out''',
    '''def apply(self, *args, **kwargs):
    def wrapped(first, second=None):
        return self.function(first, second, *args, **kwargs)

    wrapped.name = self.name
    return wrapped''',
    '''def drain(self):
    count = 0
    while self.queue:
        task = self.queue.pop()
        while task.waiting:
            task.step()
            count += 1
        if task.failed:
            break
    else:
        self.done = True
    return count''',
    '''def path(self):
    return self.root + \\
        "/" + self.name + \\
        ".txt"''',
    '''def stop(self):
    pass''',
    '''def describe(self, verbose=False):
    text = (
        "a rather long sentence that stands on a line of its own, "
        'and another one; "quoted"'
    )
    if verbose:
        text = text + """
and more""" + str(self.count)
    return text''',
    '''def assign(self, data):
    self.width: int = data["width"]
    height: int
    self.height, self.depth = data["height"], data["depth"]
    self.area = self.width * self.height
    self.volume = self.area * self.depth
    return self''',
    '''def check(self, value):
    assert value is not None, "a value is needed"
    if value < self.low or value > self.high:
        raise ValueError("%s is not between %s and %s" % (value, self.low, self.high))
    elif value != value:
        del self.values[:]
    return not value''',
]

PROSE = (
    "Okay, let me look at the failing test first. The test calls the method with an empty list and "
    "expects a dictionary, but the method returns None because the loop never runs. Wait, the "
    "default is set before the loop, so that cannot be the reason. Let me check the class again: "
    "there is an attribute that the constructor fills, and the sibling method reads it. So the "
    "method should read it too, instead of asking the connection every time. But what if the "
    "attribute is missing? The docstring says that it is always there after setup. Hmm, then the "
    "error in the traceback comes from another place. The traceback shows a KeyError for 'name', "
    "and the only lookup of 'name' is in the second branch. I should use get() with a default and "
    "keep the order of the keys, since the second test compares lists. Therefore the fix is small: "
    "return early when there is nothing to do, look the value up once, and leave the rest as it was."
)


def lines(text):
    return text.split("\n")


def rename(text, random):
    names = sorted(set(re.findall(r"\b[a-z_]{3,}\b(?!\()", text)) - {"self", "def", "return"})
    if not names:
        return text
    old = random.choice(names)
    return re.sub(rf"\b{old}\b", random.choice(["thing", "other", "result", "x"]), text)


def drop_line(text, random):
    all_lines = lines(text)
    if len(all_lines) > 2:
        del all_lines[random.randrange(1, len(all_lines))]
    return "\n".join(all_lines)


def swap_lines(text, random):
    all_lines = lines(text)
    if len(all_lines) > 3:
        at = random.randrange(1, len(all_lines) - 1)
        all_lines[at], all_lines[at + 1] = all_lines[at + 1], all_lines[at]
    return "\n".join(all_lines)


def operator(text, random):
    pairs = [("+", "-"), ("==", "!="), ("<", ">="), ("not ", ""), (" and ", " or "), ("1", "2"), ("*", "//")]
    random.shuffle(pairs)
    for old, new in pairs:
        if old in text:
            return text.replace(old, new, 1)
    return text


def comment(text, random):
    all_lines = lines(text)
    at = random.randrange(len(all_lines))
    all_lines[at] += "  # it's said: " + random.choice(["don't", "see /* here */", "\"quoted\"", "a // b"])
    return "\n".join(all_lines)


def docstring(text, random):
    head, _, body = text.partition("\n")
    return head + '\n    """What it does,\n    in two lines."""\n' + body


def truncate(text, random):
    return text[: random.randrange(len(text))]


def unbalance(text, random):
    return text.replace(random.choice("()[]\"'"), "", 1)


def insert(text, random):
    all_lines = lines(text)
    at = random.randrange(1, len(all_lines) + 1)
    indent = re.match(r"\s*", all_lines[at - 1]).group() or "    "
    more = random.choice(["print(value)", "count = count + 1", "for i in range(3): total = i", "if done: return"])
    all_lines.insert(at, indent + more)
    return "\n".join(all_lines)


def respace(text, random):
    return text.replace("    ", "\t") if random.random() < 0.5 else text.replace(" = ", "=").replace("\n", "  \n")


def another(text, random):
    return random.choice(METHODS)


def nothing(text, random):
    return random.choice(["", "pass", "def", "x", "   ", "return"])


MUTATIONS = [rename, drop_line, swap_lines, operator, comment, docstring, truncate, unbalance, insert, respace]
RARE = [another, nothing]


def code_pairs(seed, each):
    """(reference, prediction): every method with mutations of it, mild and wild."""
    chance = random.Random(seed)
    pairs = []
    for method in METHODS:
        pairs.append((method, method))
        for _ in range(each):
            text = method
            for _ in range(chance.choice([1, 1, 2, 3])):
                text = chance.choice(MUTATIONS)(text, chance)
            pairs.append((method, text))
        reference = chance.choice(MUTATIONS)(method, chance)
        pairs.append((reference, chance.choice(RARE)(method, chance)))
    return pairs


def prose_pairs(seed, count):
    """Reasoning-like texts: cut, shuffled, repeated."""
    chance = random.Random(seed)
    sentences = re.split(r"(?<=[.?:]) ", PROSE)
    pairs = [("", ""), ("", PROSE), ("one two three", "one two three"), ("…", "…"), ("A-b c", "a b C")]
    for _ in range(count):
        sides = []
        for _ in range(2):
            chosen = [chance.choice(sentences) for _ in range(chance.randrange(1, 30))]
            text = " ".join(chosen)
            if chance.random() < 0.3:
                text = text.upper().replace(" ", "\n", 3)
            if chance.random() < 0.3:
                text = text.replace("e", "é")
            sides.append(text)
        pairs.append(tuple(sides))
    return pairs
