# Becomes the kernel as "python -m ipykernel_launcher" does; runs in whatever python a stack brings, from 2.7 on.
import os, signal, sys, threading, time

if sys.path and sys.path[0] == "":
    del sys.path[0]
expected = os.environ.pop("HTCMAGIC_PARENT", "")
jupyter = os.environ.get("JPY_PARENT_PID")
if expected:
    os.environ["JPY_PARENT_PID"] = "1"  # the poller of ipykernel leaves children behind, or sees no end at all
if os.environ.get("HTCMAGIC_INJECT"):
    sys.path.append(os.environ["HTCMAGIC_INJECT"])


def give_up(said):
    if os.environ.get("HTCMAGIC_INSIDE"):
        sys.stderr.write("htcmagic: %s\n" % said)
        try:
            with open(os.environ.get("HTCMAGIC_LOG") or os.devnull, "a") as log:
                log.write("htcmagic: %s\n" % said)
        finally:
            sys.stderr.flush()
            os._exit(97)
    kept = "HOME USER LANG XDG_RUNTIME_DIR XDG_DATA_HOME JUPYTER_RUNTIME_DIR TMPDIR HTCMAGIC_HOME".split()
    env = dict((name, os.environ[name]) for name in kept if name in os.environ)
    if jupyter:
        env["JPY_PARENT_PID"] = jupyter
    env.update(PATH="/usr/local/bin:/usr/bin:/bin", HTCMAGIC_FAILED=said)
    os.execve("/bin/bash", ["bash", os.environ["HTCMAGIC_KERNEL_DIR"] + "/setup.sh"] + sys.argv[1:], env)


def children():
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open("/proc/self/task/%s/children" % task) as listed:
                found += [int(word) for word in listed.read().split()]
        except IOError:
            pass
    return found


def watch():
    while os.getppid() == int(expected):
        time.sleep(0.5)
    for child in children():
        try:
            os.kill(child, signal.SIGTERM)
        except OSError:
            pass
    time.sleep(0.3)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def interrupted(number, frame, last=[0.0]):
    if time.time() - last[0] > 0.3:
        last[0] = time.time()
        raise KeyboardInterrupt


try:
    import ipykernel

    # The runtime of an image hands on the signal that this process gets anyway; later ones signal themselves alone.
    if os.environ.get("HTCMAGIC_INSIDE") and ipykernel.version_info[:2] < (6, 10):
        signal.default_int_handler = interrupted
    from ipykernel import kernelapp
except Exception as error:
    give_up("%s cannot import ipykernel: %s: %s" % (sys.executable, type(error).__name__, error))
packages = os.path.dirname(os.path.dirname(os.path.abspath(kernelapp.__file__)))
sys.argv[0] = os.path.join(packages, "ipykernel_launcher.py")
if expected:
    os.environ["JPY_PARENT_PID"] = jupyter or ""
    watch.kept = sys.modules["__main__"]  # IPython puts another in its place; python 2 would then forget our names
    watcher = threading.Thread(target=watch)
    watcher.daemon = True
    watcher.start()
application = kernelapp.IPKernelApp.instance()
try:
    application.initialize()
except Exception as error:
    give_up("ipykernel of %s does not start: %s: %s" % (sys.executable, type(error).__name__, error))
application.start()
