//! Methods and commands, read in a model's words.

use std::path::Path;

use fixfly_runtime::answer::{Asked, command, method};

const PLAIN: &str = "Here is the method:\n\n```python\ndef f(self, names):\n    \"\"\"Doc.\"\"\"\n    \
    found = []\n    for name in names:\n        if name in self.known:\n            \
    found.append(self.known[name])\n    return found\n```\n\nIt skips unknown names.\n";
const REASONED: &str = "<think>\nThe test wants a list. A first try:\n```python\ndef f(self): \
    pass\n```\nThat is wrong, because it returns None.\n</think>\n\n1. I fix the loop:\n\n   \
    ```python\n   def f(self, names):\n       return [self.known[name] for name in names]\n   ```\n";
const WITH_USAGE: &str = "```python\ndef f(self):\n    text = '''\n```\n'''\n    return \
    text\n```\nUsage:\n```python\nA().f()\n```\nOutput:\n```\n'x'\n```\n";
const SHELL: &str = "I look at the file first.\n\n```bash\ncat > /tmp/a.py <<'EOF'\nprint(\"\"\"\n\
    ```\n\"\"\")\nEOF\npython3 /tmp/a.py\n```\n";

pub(crate) fn work(_: &Path, rounds: u64) {
    for _ in 0..rounds {
        for words in [PLAIN, REASONED, WITH_USAGE] {
            let code = method(words, &Asked::named("f")).expect("a method");
            assert!(code.text.starts_with("def f(self"), "{}", code.text);
        }
        assert!(command(SHELL).is_ok_and(|found| found.text.starts_with("cat >")));
    }
}
