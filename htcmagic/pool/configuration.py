"""The personal pool's HTCondor configuration: pure, the same input gives the same text.

Timings of the negotiation cycle are tuned for somebody who waits in a notebook: with stock settings the first job
of an idle pool starts after 18 s and the next after up to 60 s, with these after 0.1 to 2 s, measured on two cores.
"""

from __future__ import annotations

import re
from pathlib import Path

from htcmagic.pool.programs import Programs

TEMPLATE = """\
# Written by htc-pool at every start. Put changes of your own into config.d/*.conf beside this file.
use ROLE : Personal

# Where everything is
RELEASE_DIR = {release}
BIN = {bin}
SBIN = {sbin}
LIBEXEC = {libexec}
LIB = {lib}
LOCAL_DIR = {folder}
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
LOCK = $(LOCAL_DIR)/lock
RUN = $(LOCAL_DIR)/run
SEC_PASSWORD_DIRECTORY = $(LOCAL_DIR)/passwords.d
SEC_TOKEN_SYSTEM_DIRECTORY = $(LOCAL_DIR)/tokens.d
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR = $(LOCAL_DIR)/config.d
USER_CONFIG_FILE =
COLLECTOR_ADDRESS_FILE = $(LOG)/.collector_address
SCHEDD_ADDRESS_FILE = $(LOG)/.schedd_address
STARTD_ADDRESS_FILE = $(LOG)/.startd_address
NEGOTIATOR_ADDRESS_FILE = $(LOG)/.negotiator_address
MASTER_ADDRESS_FILE = $(LOG)/.master_address
SCHEDD_SUPER_ADDRESS_FILE =

# Loopback only
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:{port}
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
USE_SHARED_PORT = False
AUTO_INCLUDE_SHARED_PORT_IN_DAEMON_LIST = False

# Nobody but its owner
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_CLIENT_AUTHENTICATION = REQUIRED
SEC_READ_AUTHENTICATION = REQUIRED
SEC_DEFAULT_INTEGRITY = REQUIRED
SEC_READ_INTEGRITY = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = FS, IDTOKENS
SEC_CLIENT_AUTHENTICATION_METHODS = FS, IDTOKENS
FS_LOCAL_DIR =
POOL_OWNER = {owner}@*
ALLOW_READ = $(POOL_OWNER)
ALLOW_WRITE = $(POOL_OWNER)
ALLOW_ADMINISTRATOR = $(POOL_OWNER)
ALLOW_CONFIG = $(POOL_OWNER)
ALLOW_DAEMON = $(POOL_OWNER)
ALLOW_NEGOTIATOR = $(POOL_OWNER)
ALLOW_ADVERTISE_MASTER = $(POOL_OWNER)
ALLOW_ADVERTISE_SCHEDD = $(POOL_OWNER)
ALLOW_ADVERTISE_STARTD = $(POOL_OWNER)
ALLOW_CLIENT = *

# Jobs have the home folder of the pool's owner, also where that is root under another name
STARTER_SETS_HOME_ENV = False
STARTER_JOB_ENVIRONMENT = "HOME={home}"

# One slot that is cut to size, always willing
NUM_SLOTS = 1
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
START = True
SUSPEND = False
PREEMPT = False
KILL = False
MachineMaxVacateTime = 5

# Fast for somebody who waits
JAVA =
ENABLE_URL_TRANSFERS = False
BENCHMARKS_JOBLIST =
RunBenchmarks = False
SCHEDD_INTERVAL = 1
SCHEDD_MIN_INTERVAL = 0
SCHEDD_INTERVAL_TIMESLICE = 1.0
SCHEDD_NEGOTIATE_TIMESLICE = 1.0
NEGOTIATOR_INTERVAL = 1
NEGOTIATOR_MIN_INTERVAL = 0
NEGOTIATOR_CYCLE_DELAY = 0
UPDATE_INTERVAL = 5
GUIDANCE_MUMS_THE_WORD = True
ENABLE_USERLOG_FSYNC = False
DEFAULT_USERLOG_FORMAT_OPTIONS = SUB_SECOND

# A killed daemon is back at once
MASTER_BACKOFF_CONSTANT = 1
MASTER_BACKOFF_FACTOR = 1.5
MASTER_BACKOFF_CEILING = 10
MASTER_CHECK_NEW_EXEC_INTERVAL = 86400
SHUTDOWN_GRACEFUL_TIMEOUT = 6
SHUTDOWN_FAST_TIMEOUT = 4

# A job whose startd was killed runs again within a minute; with stock settings its shadow looks for the old one for 40.
# (Without a key for each match it would be at once, but then the pool starts 4 jobs a second in place of 35.)
STARTD_ARGS = -p {startd_port}
JOB_DEFAULT_LEASE_DURATION = 60
RECONNECT_BACKOFF_CEILING = 2
"""

APPTAINER = """\

# Container jobs. The notebook's folder may lie under /tmp or /var/tmp: mount nothing over them
SINGULARITY = {apptainer}
MOUNT_UNDER_SCRATCH =
# A plain folder is an image, too, though Apptainer cannot "test" it; stacks are on /cvmfs where there is one
SINGULARITY_RUN_TEST_BEFORE_JOB = False
SINGULARITY_BIND_EXPR = "/cvmfs"
"""


def render(folder: Path, programs: Programs, *, owner: str, port: int, home: Path) -> str:
    """Return the text of ``condor_config``.

    Parameters
    ----------
    folder : Path
        The pool's folder.
    programs : Programs
        HTCondor's programs.
    owner : str
        The only user who is let in, as HTCondor's FS authentication names them.
    port : int
        Port of the collector on 127.0.0.1; the startd has the next one.
    home : Path
        The owner's home folder.
    """
    text = TEMPLATE.format(
        folder=folder,
        release=programs.release_dir,
        bin=programs.bin,
        sbin=programs.sbin,
        libexec=programs.libexec,
        lib=programs.lib,
        owner=owner,
        port=port,
        startd_port=port + 1,
        home=_environment_word(home),
    )
    if programs.apptainer is not None:
        text += APPTAINER.format(apptainer=programs.apptainer)
    return text


def _environment_word(path: Path) -> str:
    """Return a value for HTCondor's environment syntax (condor_submit(1), "environment")."""
    quoted = str(path).replace('"', '""').replace("'", "''")
    return f"'{quoted}'" if re.search(r"[\s']", quoted) else quoted
