"""Processes under a bound: each has its own, and none outlives the run's."""

import json
import os
import subprocess
import time


class NotDone(Exception):
    """Why something was not done, in a sentence for the table."""


SHOWN = 300
"""Characters of a failed command's last words that are passed on."""


class Clock:
    def __init__(self, seconds: float):
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        return self.end - time.monotonic()

    def run(self, command: list[object], most: float) -> str:
        """What a command prints, within `most` seconds and the run's own bound."""
        bound = min(most, self.left())
        if bound <= 0:
            raise NotDone("the run's time was over")
        words = [str(word) for word in command]
        try:
            done = subprocess.run(words, timeout=bound, capture_output=True, text=True, env=environment())
        except subprocess.TimeoutExpired:
            raise NotDone(f"took longer than {bound:.0f} s") from None
        except OSError as error:
            raise NotDone(f"could not be started: {error}") from None
        if done.returncode != 0:
            raise NotDone(f"ended with {done.returncode}: {last_words(done.stderr)}")
        return done.stdout

    def json(self, command: list[object], most: float) -> dict:
        printed = self.run(command, most)
        try:
            return json.loads(printed)
        except ValueError:
            raise NotDone(f"printed no JSON: {printed[:SHOWN]!r}") from None


def environment() -> dict[str, str]:
    """Either side settles TensorFloat-32 by itself, whatever was exported here."""
    settled = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
    return {name: value for name, value in os.environ.items() if name not in settled}


def last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # A worker logs, then says `error:`; Python ends with the error.
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["no words"])[-1][:SHOWN]
