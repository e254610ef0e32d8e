"""The cells a kernel under test is given; plain enough for any python that still has an ipykernel."""

WHO = """
def _htc_who():
    import json, os, platform, sys
    told = {"python": platform.python_version(), "executable": sys.executable, "platform": platform.platform()}
    for name in ("ipykernel", "IPython"):
        try:
            told[name] = __import__(name).__version__
        except Exception:
            pass
    told["container"] = os.environ.get("APPTAINER_NAME") or os.environ.get("SINGULARITY_NAME") or ""
    print("htcmagic:" + json.dumps(told))
_htc_who()
"""
COMPLETED = ("htcmagic_completion_probe = 1", "htcmagic_compl", "htcmagic_completion_probe")
"""A cell, a beginning, what the beginning should be completed to."""
INTERRUPTED = """
def _htc_interrupted(limit_s, after_s):
    import json, sys, time
    seen = []
    print("htcmagic:begun")
    sys.stdout.flush()
    end = time.time() + limit_s
    while time.time() < end:
        try:
            time.sleep(min(30, max(0, end - time.time())))
        except KeyboardInterrupt:
            seen.append(time.time())
            end = seen[0] + after_s
    print("htcmagic:" + json.dumps(seen))
_htc_interrupted(30, 0.4)
"""
SET = "htcmagic_restart_probe = 1"
KEPT = "print('htcmagic:' + ('kept' if 'htcmagic_restart_probe' in globals() else 'new'))"
