"""Puts each defect of the released code into a copy of this one and shows that the test named after it fails,
and passes without.

python benchmarks/mutate.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TESTS = "tests/adapters"
METHODS = "transrec_core/adapters/methods"


class Mutation(NamedTuple):
    """A defect: the test that must find it, its file, and which text it puts in place of which."""

    test: str
    file: str
    before: str
    after: str


MUTATIONS = [
    Mutation(
        f"{TESTS}/test_lora.py::test_defect_lora_replaces_the_pretrained_projection",
        f"{METHODS}/lora.py",
        "        return cls(linear, rank, config)\n",
        "        linear.reset_parameters()\n        return cls(linear, rank, config)\n",
    ),
    Mutation(
        f"{TESTS}/test_prompt.py::test_defect_soft_prompt_cuts_the_title",
        f"{METHODS}/prompt.py",
        "        return torch.cat([self.tokens.expand",
        "        y = torch.cat([0 * y[:, : self.n_tokens], y[:, self.n_tokens :]], 1)\n"
        "        return torch.cat([self.tokens.expand",
    ),
    Mutation(
        f"{TESTS}/test_k_adapter.py::test_defect_k_adapter_looks_into_the_future",
        f"{METHODS}/k_adapter.py",
        "mask, x.causal)\n        out",
        "mask, False)\n        out",
    ),
    Mutation(
        f"{TESTS}/test_k_adapter.py::test_defect_k_adapter_reads_padding",
        f"{METHODS}/k_adapter.py",
        "mask = None if x.mask is None else",
        "mask = None if True else",
    ),
    Mutation(
        f"{TESTS}/test_compacter.py::test_defect_compacter_has_no_skip_connection",
        f"{METHODS}/compacter.py",
        "return y + correction",
        "return correction",
    ),
    Mutation(
        f"{TESTS}/test_parallel.py::test_defect_parallel_adapter_adds_its_input_twice",
        f"{METHODS}/houlsby.py",
        "return y + self.scale * correction",
        "return y + self.scale * correction + (x if self.parallel else 0)",
    ),
    Mutation(
        f"{TESTS}/test_pfeiffer.py::test_defect_pfeiffer_sits_after_the_attention",
        f"{METHODS}/pfeiffer.py",
        'own_position = "ffn"',
        'own_position = "attention"',
    ),
    Mutation(
        "tests/evaluation/test_ranking.py::test_defect_evaluation_masks_a_target_in_the_history",
        "transrec_core/evaluation/ranking.py",
        "        reached = scores.gather(1, goal)\n        seen",
        "        hidden = torch.from_numpy(histories.padded(users, max(1, longest))).to(device)\n"
        "        scores = scores.scatter(1, hidden, float('-inf'))\n"
        "        reached = scores.gather(1, goal)\n        seen",
    ),
]


def passes(folder: Path, test: str) -> bool:
    """Whether a test passes in a copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", test]
    environment = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, env=environment).returncode == 0


def main() -> int:
    """Prints a line for each defect; the exit status says whether each was caught."""
    caught = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in ("transrec_core", "tests"):
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "assets")
            )
        shutil.copy(ROOT / "pyproject.toml", folder)
        for test, name, before, after in MUTATIONS:
            file = folder / name
            sound = file.read_text(encoding="utf-8")
            if sound.count(before) != 1:
                print(f"{name}: the place to mutate is not there once; mend benchmarks/mutate.py")
                continue
            green = passes(folder, test)
            file.write_text(sound.replace(before, after), encoding="utf-8")
            red = not passes(folder, test)
            file.write_text(sound, encoding="utf-8")
            caught += green and red
            print(
                f"{'caught' if green and red else 'NOT CAUGHT'}: {test.split('::')[1]} "
                f"({'passes' if green else 'fails'} without, {'fails' if red else 'passes'} with the defect)",
                flush=True,
            )
    return 0 if caught == len(MUTATIONS) else 1


if __name__ == "__main__":
    sys.exit(main())
