"""Checkpoints of the released code: made at random from its key names, run by a forward pass written from
its equations (``released.py``), then converted.
"""

from __future__ import annotations

import pickle

import pytest
import torch
from typer.testing import CliRunner

from tests.models.released import ITEM, USER, Released, checkpoint
from transrec_core.base.errors import UserError
from transrec_core.cli.main import app
from transrec_core.models import TransRec
from transrec_core.models.adapter4rec import convert, read_checkpoint

FORMS = ["full", "houlsby", "pfeiffer", "lora"]


def content(kind: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    if kind != "text":
        return {"pixel_values": torch.randn(7, 3, 16, 16, generator=generator)}
    mask = (torch.arange(8)[None] < torch.tensor([8, 4, 6, 3, 8, 5, 7])[:, None]).long()
    return {"input_ids": torch.randint(1, 50, (7, 8), generator=generator) * mask, "attention_mask": mask}


@pytest.mark.parametrize("kind", ["text", "vit", "mae"])
@pytest.mark.parametrize("form", FORMS)
def test_a_converted_checkpoint_gives_the_released_scores(kind, form, tmp_path):
    state = checkpoint(kind, form)
    path, more = (
        tmp_path / "epoch-3.pt",
        {"optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}, "rng_state": torch.get_rng_state()},
    )
    torch.save({"model_state_dict": state, **more}, path)
    result = CliRunner().invoke(
        app, ["import-adapter4rec", str(path), "--out", str(tmp_path / "out"), "--item-heads", "2"]
    )
    assert result.exit_code == 0, result.output
    model = TransRec.from_pretrained(tmp_path / "out").eval()
    if form != "full":
        model.load_adapter(tmp_path / "out" / "adapter", "a")
        assert model.adapter_configs["a"].method == form
    released, features = Released(state, kind), content(kind)
    with torch.no_grad():
        vectors, theirs = model.encode_items(features), released.items(features)
        histories = torch.tensor([[0, 3, 2, 6, 1, 4], [5, 1, 0, 2, 6, 3]])
        scores = model.encode_users(vectors[histories]) @ vectors.T
        expected = released.users(theirs[histories]) @ theirs.T
    assert (vectors - theirs).abs().max() <= 1e-5 and (scores - expected).abs().max() <= 1e-4
    assert theirs.std() > 0.05


class Evil:
    def __reduce__(self):
        return (print, ("code of the file was run",))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "no such file"),
        ("empty", "damaged"),
        ("text", "damaged"),
        ("truncated", "damaged"),
        ("malicious", "could run code"),
        ("malicious zip", "could run code"),
        ("numbers", "no dictionary of tensors"),
        ("list", "no dictionary of tensors"),
        ("other model", "not a checkpoint of the released code"),
        ("lost tensor", "'item_encoder.projection.bias' is missing"),
        ("extra tensor", "is left over"),
        ("wrong shape", "shape"),
        ("k_adapter", "without a mask"),
        ("prompt", "cuts tokens"),
        ("compacter", "no skip connection"),
        ("pfeiffer 1", "LayerNorm of its own"),
        ("resnet", "neither a text nor"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_one_line(what, message, tmp_path, capfd):
    path, state, some = tmp_path / "epoch-1.pt", checkpoint("text", "houlsby"), torch.zeros(2)
    made = {
        "numbers": {"model_state_dict": {"a": 1.0}},
        "list": [some],
        "other model": {"model_state_dict": {"fc.weight": some}},
        "lost tensor": {k: v for k, v in state.items() if not k.endswith("title.fc.bias")},
        "extra tensor": state | {USER + "other.weight": some},
        "wrong shape": state | {"bert_encoder.text_encoders.title.fc.bias": some},
        "k_adapter": state | {"com_dense.weight": some},
        "prompt": state | {"bert_encoder.x.learned_embedding": some},
        "compacter": state | {"phm_rule": some},
        "pfeiffer 1": state | {USER + "transformer_blocks.0.LN.weight": some},
        "resnet": {
            key.replace(ITEM["text"], "cv_encoder.image_net.layer1."): value for key, value in state.items()
        },
    }
    if what in made:
        torch.save(made[what], path)
    elif what == "malicious":
        path.write_bytes(pickle.dumps({"model_state_dict": Evil()}))
    elif what == "malicious zip":
        torch.save({"model_state_dict": state, "more": Evil()}, path)
    elif what == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-2000])
    elif what != "missing":
        path.write_bytes(b"" if what == "empty" else "kein Modell, aber Text: ä".encode("latin-1"))
    with pytest.raises(UserError, match=message) as caught:
        convert(path, item_heads=2)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert "code of the file was run" not in capfd.readouterr().out


def test_an_existing_folder_is_not_written_into(tmp_path):
    torch.save({"model_state_dict": checkpoint("text", "full")}, tmp_path / "a.pt")
    result = CliRunner().invoke(app, ["import-adapter4rec", str(tmp_path / "a.pt"), "--out", str(tmp_path)])
    assert isinstance(result.exception, UserError) and "exists already" in str(result.exception)
    assert set(read_checkpoint(tmp_path / "a.pt")) == set(checkpoint("text", "full"))
