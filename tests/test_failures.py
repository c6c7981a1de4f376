"""Error texts as torch, ONNX Runtime, Windows, drivers and servers print them, and what a person reads instead."""

from __future__ import annotations

import builtins
import errno
import importlib.util
import json
import socket
import ssl
import subprocess
import sys
import urllib.error
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lora_studio import cli, doctor, endings, failures, network
from lora_studio.crop.detectors import load_detector
from lora_studio.endings import died, meaning, reason
from lora_studio.environment import Environment
from lora_studio.errors import UserError
from lora_studio.failures import FAILURES, VC_REDIST, because, explained, failure_of, find
from lora_studio.jobs import Jobs, run_command
from lora_studio.tagging import download, providers
from lora_studio.tagging.catalogue import CATALOGUE
from lora_studio.training import bases

ROOT = Path(__file__).resolve().parents[1]
ORT = "DLL load failed while importing onnxruntime_pybind11_state: "
LINES = (ROOT / "tests" / "failure_texts.tsv").read_text(encoding="utf-8").splitlines()[1:]
TEXTS = [(kind, getattr(builtins, error), text) for kind, error, text in (line.split("\t") for line in LINES)]


@pytest.mark.parametrize(("kind", "error", "text"), TEXTS)
def test_an_error_is_read_as_what_it_is(kind: str, error: type[Exception], text: str) -> None:
    row = failure_of(error(text))
    assert row is not None and row.kind == kind
    known = explained(error(text))
    assert known is not None and (known.message, known.hint) == (row.message, row.hint)


def test_every_row_is_met_by_a_real_text() -> None:
    assert {row.kind for row in FAILURES} == {kind for kind, _, _ in TEXTS}


@pytest.mark.parametrize("text", ["mat1 and mat2 shapes cannot be multiplied (2x77 and 64x3)", "KeyError: 'unet'", "expected scalar type Half", ""])
def test_other_errors_are_left_as_they_are(text: str) -> None:
    assert find(text) is None and explained(RuntimeError(text)) is None
    assert because(RuntimeError(text), hint="See: doctor") == (text or "RuntimeError", "See: doctor")


def test_the_cause_counts_and_a_message_of_ours_stays() -> None:
    outer = RuntimeError("Failed to import diffusers")
    outer.__cause__ = OSError('[WinError 126] Error loading "c10.dll" or one of its dependencies.')
    assert VC_REDIST in because(outer)[1]
    ours = UserError("The graphics card is out of memory.", "Wait.")
    assert explained(ours) is ours


def test_numbers_of_an_error_count_where_its_text_is_in_another_language() -> None:
    error = OSError(22, "Le fichier de pagination est insuffisant")
    error.winerror = 1455  # type: ignore[attr-defined,unused-ignore]  # as on Windows
    assert failure_of(error) is FAILURES[0]
    assert explained(OSError(errno.ENOMEM, "Impossible d'allouer de la mémoire")).message == find("memoryerror").message  # type: ignore[union-attr]


def test_an_error_that_names_its_file_says_which() -> None:
    known = explained(OSError(errno.ENOSPC, "No space left on device", "/data/画 1.png"))
    assert known is not None and "画 1.png" in known.message


# -- exit codes ---------------------------------------------------------------------------------------------------------------------------------

CODES = [
    (-9, endings.KILLED), (137, endings.KILLED), (-11, endings.CRASHED), (-6, endings.CRASHED), (-4, endings.OLD_PROCESSOR), (-15, endings.CLOSED),
    (0xC0000005, endings.CRASHED), (-1073741819, endings.CRASHED), (0xC0000409, endings.CRASHED), (0xC0000135, endings.LIBRARIES),
    (0xC000013A, endings.CLOSED), (0xC000012D, endings.WINDOWS[0xC000012D]), (0, None), (1, None), (2, None), (255, None), (None, None),
]  # fmt: skip


@pytest.mark.parametrize(("code", "ending"), CODES)
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX codes are told by signals' names")
def test_an_exit_code_is_read(code: int | None, ending: object) -> None:
    assert meaning(code) == ending


def test_what_was_printed_tells_more_than_a_crash_but_not_more_than_the_system() -> None:
    printed = "Could not load library cudnn_cnn_infer64_8.dll. Error code 126\nPlease make sure cudnn_cnn_infer64_8.dll is in your library path!\n"
    said = reason(0xC0000409, printed)
    assert said is not None and "CUDA libraries" in said.message
    assert reason(0xC000012D, printed).message == endings.WINDOWS[0xC000012D].message  # type: ignore[union-attr]
    old = "CUDA driver version is insufficient\n" + "step\n" * 40  # long before the end
    assert reason(0xC0000005, old).message == endings.CRASHED.message  # type: ignore[union-attr]
    assert reason(1, "nothing of note") is None


def test_a_process_that_died_says_its_code_and_its_last_words() -> None:
    error = died(message="A helper process ended without an answer.", code=3, printed="one\n\ntwo", hint="Look.")
    assert error.message == "A helper process ended without an answer." and error.hint == "Look.\nIts exit code was 3.\nIt printed last:\none\n\ntwo"
    assert "0xc0000022" in died(message="x", code=0xC0000022).hint
    assert died(message="x", code=1).hint == ""


# -- downloads ------------------------------------------------------------------------------------------------------------------------------------

NETWORK = [
    (urllib.error.URLError(socket.gaierror(11001, "getaddrinfo failed")), "server was not found"),
    (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "server was not found"),
    (urllib.error.URLError(ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:9)")), "not trusted"),
    (urllib.error.URLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol (_ssl.c:997)")), "secure connection was cut off"),
    (urllib.error.URLError(OSError("Tunnel connection failed: 407 Proxy Authentication Required")), "proxy refuses"),
    (urllib.error.URLError(ConnectionRefusedError(10061, "由于目标计算机积极拒绝，无法连接。")), "takes no connections"),
    (urllib.error.URLError(TimeoutError("timed out")), "does not answer"),
    (ConnectionResetError(104, "Connection reset by peer"), "broke off"),
    (OSError("the connection broke off after 3 of 9 bytes"), "broke off"),
    (urllib.error.HTTPError("https://x", 401, "Unauthorized", Message(), None), "login"),
    (urllib.error.HTTPError("https://x", 404, "Not Found", Message(), None), "not there any more"),
    (urllib.error.HTTPError("https://x", 503, "Service Unavailable", Message(), None), "try again later"),
    (urllib.error.HTTPError("https://x", 418, "Teapot", Message(), None), "418 (Teapot)"),
    (ValueError("unknown url type: 'x'"), "unknown url type"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words"), NETWORK)
def test_why_a_download_failed(error: Exception, words: str) -> None:
    assert words in network.why(error)


# -- where they are told ----------------------------------------------------------------------------------------------------------------------------


def test_a_command_tells_what_it_knows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(cli.Studio, "open", broken)
    assert cli.main(["runs", str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["error"] == "The graphics card stopped in the middle of its work." and "overclocking" in told["hint"] and "report" not in told["hint"]


def test_a_helper_that_dies_says_why(tmp_path: Path) -> None:
    said = ORT + "The specified module could not be found."
    dying = f"import sys, os; print({said!r}, file=sys.stderr, flush=True); os._exit(3)"
    with pytest.raises(UserError, match="The Microsoft Visual C") as caught:
        run_command([sys.executable, "-c", dying], {"PYTHONUTF8": "1"}, lambda *_: None)
    assert VC_REDIST in caught.value.hint and "It printed last" in caught.value.hint


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_helper_that_the_system_kills_says_so() -> None:
    with pytest.raises(UserError, match="killed") as caught:
        run_command([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], {}, lambda *_: None)
    assert "Close other programs" in caught.value.hint


def test_an_answer_that_does_not_come_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 0xC0000005, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(UserError, match="It crashed inside a library"):
        Environment().answer("doctor")


def test_a_job_in_our_own_process_too() -> None:
    def work(progress: Any) -> None:
        raise MemoryError

    jobs = Jobs()
    job = jobs.wait(jobs.start("x", "", work).id, 10)
    assert job.error == "There is not enough main memory (RAM)."


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows without the Visual C++ runtime: importing torch or ONNX Runtime fails as it does there."""
    real = builtins.__import__

    def importing(name: str, *more: Any, **options: Any) -> Any:
        if name.split(".")[0] == "onnxruntime":
            raise ImportError(ORT + "找不到指定的模块。")
        if name.split(".")[0] == "torch":
            raise OSError('[WinError 126] 找不到指定的模块。 Error loading "D:\\torch\\lib\\fbgemm.dll" or one of its dependencies.')
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", importing)
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1" if name in ("torch", "onnxruntime") else None)


@pytest.mark.usefixtures("no_runtime")
def test_the_missing_runtime_is_named_by_tagging_cropping_and_doctor(tmp_path: Path) -> None:
    for door in (providers.runtime, lambda: load_detector(tmp_path / "face.onnx")):
        with pytest.raises(UserError, match="does not start: The Microsoft Visual C") as caught:
            door()
        assert VC_REDIST in caught.value.hint
    for problems in (doctor.torch_facts([])[1], doctor.onnx_facts([])[1]):
        assert "Visual C++ runtime" in problems[0]["what"] and VC_REDIST in problems[0]["fix"]


def test_a_tagger_that_finds_no_memory_is_not_to_be_downloaded_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Runtime:
        SessionOptions = type("SessionOptions", (), {"add_session_config_entry": lambda *_: None})

        @staticmethod
        def get_available_providers() -> list[str]:
            return ["DmlExecutionProvider", "CPUExecutionProvider"]

        @staticmethod
        def InferenceSession(*_: Any, providers: list[str]) -> None:  # noqa: N802 - ONNX Runtime's name
            raise RuntimeError("8007000E Not enough memory resources" if len(providers) > 1 else "std::bad_alloc")

    warned: list[str] = []
    monkeypatch.setattr(providers, "runtime", Runtime)
    monkeypatch.setattr(providers, "choose_providers", lambda available, asked: (available, warned))
    with pytest.raises(UserError, match="There is not enough main memory") as caught:
        providers.open_session(tmp_path / "model.onnx")
    assert "Download" not in caught.value.hint
    assert warned == ["DmlExecutionProvider failed, the CPU is used instead: The graphics card has not enough memory for these settings."]


@pytest.mark.parametrize("number", [None, 403])
def test_downloads_of_taggers_and_bases_say_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int | None) -> None:
    def fetch(url: str, *_: Any, **__: Any) -> None:
        if number:
            raise urllib.error.HTTPError(url, number, "Forbidden", Message(), None)
        raise urllib.error.URLError(socket.gaierror(11001, "getaddrinfo failed"))

    monkeypatch.setattr(download, "fetch", fetch)
    monkeypatch.setattr(bases, "fetch", fetch)
    words = "the server refuses this file" if number else "the server was not found"
    with pytest.raises(UserError, match=f"could not be downloaded: {words}"):
        download.download_model(next(iter(CATALOGUE.values())), tmp_path)
    with pytest.raises(UserError, match=f"could not be downloaded: {words}"):
        bases.download(bases.own("https://example.com/x.safetensors"), tmp_path)


# -- in Chinese -----------------------------------------------------------------------------------------------------------------------------------


def test_every_text_is_translated_as_the_page_gets_it() -> None:
    """Put together at run time, sentence by sentence: a missing piece would leave half of it in English."""
    spec = importlib.util.spec_from_file_location("lora_studio_collect_failures", ROOT / "localizations" / "collect.py")
    assert spec is not None and spec.loader is not None
    collect: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = collect
    spec.loader.exec_module(collect)
    words = collect.Words(collect.load())
    rows = [*FAILURES, *endings.WINDOWS.values(), *endings.SIGNALS.values()]
    texts = [text for row in rows for text in (row.message, row.hint)]
    texts += [f"The trainer ended without a word. {row.message}" for row in rows]
    texts += [f"{row.hint} Resume the run; see console.log in its folder for what it printed last." for row in rows]
    texts += [f"A helper process ended without an answer. {row.message}" for row in rows]
    texts += [f"model_1 could not be downloaded: {row.why}." for row in (*network.REASONS, *network.ANSWERS.values(), network.BUSY)]
    assert [text for text in texts if not words.know(text.replace(failures.VC_REDIST, "{}"))] == []
