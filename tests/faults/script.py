"""The script whose runs the faults hit: it logs, prints, and writes down beside Larder what it has logged and printed.

It is copied into a folder of its own and recorded from there as a user's script would be.
"""

import json
import os
import signal
import subprocess
import sys
import time

import larder

BOMB = """
import os, sys, time
forked = refused = 0
for _ in range(int(sys.argv[1])):
    try:
        if os.fork() == 0:
            os.closerange(0, 256)
            time.sleep(600)
            os._exit(0)
        forked += 1
    except OSError:
        refused += 1
        time.sleep(0.001)
print(forked, refused, flush=True)
time.sleep(600)
"""

run = larder.init(
    project="faults",
    params={"steps": 0, "pause": 0.02, "evidence": "", "deaf": False, "helper": "", "bomb": 0, "payload": 0},
)
params = run.params
attempt = int(os.environ.get("LARDER_ATTEMPT") or 0)
evidence = -1
if params["evidence"]:
    # One file for each process: two of one attempt would be a run executed twice.
    path = os.path.join(params["evidence"], f"{run.id}.{attempt}.{os.getpid()}")
    evidence = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def tell(**what):
    if evidence >= 0:
        os.write(evidence, json.dumps(what).encode() + b"\n")


tell(began=attempt)
if params["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if params["helper"]:
    # Work that the script leaves to others and never waits for; "away" has left even the process group.
    subprocess.Popen(["sleep", "600"], start_new_session=params["helper"] == "away")
if params["bomb"]:
    # In an interpreter without anything of ours: what counts is how many there are, not how big they are.
    command = [sys.executable, "-I", "-S", "-c", BOMB, str(params["bomb"])]
    bomb = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    forked, refused = bomb.stdout.readline().split()
    tell(forked=int(forked), refused=int(refused))
for step in range(params["steps"]):
    values = {"train/loss": attempt * 1_000_000.0 + step, "val/mae": -float(step)}
    values |= {f"extra/{number}": float(step + number) for number in range(params["payload"])}
    before = time.monotonic()
    run.log(values, step=step)
    took = time.monotonic() - before
    tell(step=step, took=took)
    text = f"step {step} of attempt {attempt}"
    print(text, flush=True)
    tell(printed=text)
    time.sleep(params["pause"])
if params["steps"]:
    run.log_text("report", f"attempt {attempt} is done")
    print("done", file=sys.stderr, flush=True)
    tell(done=True)
