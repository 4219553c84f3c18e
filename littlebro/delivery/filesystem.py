"""Which file system a folder lies on: the journal must not lie on a network, nor in a container's layer.

Reads `/proc/self/mountinfo` (proc(5)); where there is none, the answer is "unknown" and nothing is refused.
"""

import re
from pathlib import Path
from typing import Final

__all__ = ["FLEETING", "MAPPABLE", "NETWORK", "kind"]

# flock and rename are not dependable there (open(2), flock(2): NFS and CIFS notes).
NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gfs2",
        "lustre",
        "ncpfs",
    }
    | {"nfs", "nfs4", "ocfs2", "smb3", "smbfs", "virtiofs"}
)
# Gone with a reboot, or with the container.
FLEETING: Final = frozenset({"tmpfs", "ramfs", "overlay", "aufs"})
# Here posix_fallocate promises the blocks, so that a write through a map cannot end in SIGBUS on a full disk.
# Copy-on-write file systems (btrfs, zfs) give no such promise.
MAPPABLE: Final = frozenset({"ext4", "xfs", "tmpfs"})

_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def kind(path: Path, table: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the file system that `path` lies on (or its nearest parent that exists)."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "unknown"
    place = path.resolve()
    best, found = -1, "unknown"
    for line in lines:
        left, _, right = line.partition(" - ")
        mount = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), left.split(" ")[4]))
        if (place == mount or mount in place.parents) and len(mount.parts) >= best:
            best, found = len(mount.parts), right.split(" ")[0]
    return found
