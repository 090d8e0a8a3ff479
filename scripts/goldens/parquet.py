"""Writes benchmarks/src/swebench/fixtures/table.parquet, as the Hugging Face hub's tables are written.

    pip install pyarrow==26.0.1 && python scripts/goldens/parquet.py
"""

from pathlib import Path

import pyarrow
import pyarrow.parquet

ROW = {
    "instance_id": "a__b-1", "repo": "a/b", "base_commit": "0123456789abcdef",
    "problem_statement": "It breaks.\nWhy? \U0001f41b", "patch": "p", "test_patch": "t", "version": "1.0",
    "FAIL_TO_PASS": ["x (m.C)", "y"], "PASS_TO_PASS": '["z"]', "hints": None, "number": 7,
}  # fmt: skip
SECOND = ROW | {"instance_id": "a__b-2", "FAIL_TO_PASS": [], "hints": "None yet."}

target = Path(__file__).parents[2] / "benchmarks/src/swebench/fixtures/table.parquet"
pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW, SECOND]), target)
