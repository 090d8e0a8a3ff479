"""Writes benchmarks/src/swebench/fixtures/*.parquet, as the Hugging Face hub's tables are written.

    pip install pyarrow==26.0.1 && python scripts/goldens/parquet.py
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet

ROW = {
    "instance_id": "a__b-1", "repo": "a/b", "base_commit": "0123456789abcdef",
    "problem_statement": "It breaks.\nWhy? \U0001f41b", "patch": "p", "test_patch": "t", "version": "1.0",
    "FAIL_TO_PASS": ["x (m.C)", "y"], "PASS_TO_PASS": '["z"]', "hints": None, "number": 7,
}  # fmt: skip
SECOND = ROW | {"instance_id": "a__b-2", "FAIL_TO_PASS": [], "hints": "None yet."}

folder = Path(__file__).parents[2] / "benchmarks/src/swebench/fixtures"
table = pyarrow.Table.from_pylist([ROW, SECOND])
pyarrow.parquet.write_table(table, folder / "table.parquet")
for codec in ["gzip", "zstd", "brotli", "lz4", "none"]:
    pyarrow.parquet.write_table(table, folder / f"table.{codec}.parquet", compression=codec)

# Columns of all types that pandas and `datasets` write, and a text that is not UTF-8.
rows = [ROW | {"instance_id": f"a__b-{number}"} for number in [1, 2, 3]]
columns = {
    "created": pyarrow.array([datetime(2026, 1, 1, tzinfo=UTC)] * 3, pyarrow.timestamp("ns", "UTC")),
    "day": pyarrow.array([date(1600, 1, 1)] * 3),
    "price": pyarrow.array([Decimal("1.25")] * 3),
    "half": pyarrow.array([None, 1.0, 2.0], pyarrow.float16()),
    "score": pyarrow.array([1.0, float("inf"), float("nan")]),
    "kind": pyarrow.array(["easy", "hard", "easy"]).dictionary_encode(),
    "large": pyarrow.array(["x"] * 3, pyarrow.large_string()),
    "bytes": pyarrow.array([b"\xff\0"] * 3),
    "names": pyarrow.array([[("a", 1)]] * 3, pyarrow.map_(pyarrow.string(), pyarrow.int8())),
    "nested": pyarrow.array([{"a": [{"b": None}]}] * 3, pyarrow.struct([("a", pyarrow.list_(pyarrow.struct([("b", pyarrow.int64())])))])),
    "time": pyarrow.array([1] * 3, pyarrow.time64("ns")),
    "span": pyarrow.array([1] * 3, pyarrow.duration("ms")),
    "latin": pyarrow.array([b"a", b"\xe9", b"b"]).view(pyarrow.string()),
}  # fmt: skip
table = pyarrow.Table.from_pylist(rows)
for name, column in columns.items():
    table = table.append_column(name, column)
pyarrow.parquet.write_table(table, folder / "columns.parquet")
