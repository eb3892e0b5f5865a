"""Container images that nodes make of their own files, so that no registry is needed: what pods wait in, and tools.

Each is one layer with some programs and the libraries that they load, written as `docker save` writes it. The same
files give the same digest on every node.
"""

from collections.abc import Sequence

from vpnmesh.cluster.places import IMAGES, SOCKET, ctr
from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

PAUSE = "localhost/vpnmesh-pause:1"
TOOLS = "localhost/vpnmesh-tools:1"
WAITS = ("/usr/bin/tini", "--", "/bin/busybox", "sleep", "2147483647")
"""What a container of either image runs, unless it is told something else: nothing, until it is ended."""
PROGRAMS = {PAUSE: (), TOOLS: ("iperf3", "hey", "ping", "curl")}
"""Beside what every image has: busybox, and tini that hands signals on and reaps."""

# constant script: folder, image, then programs; a program's libraries are those that ldd names. Static builds of
# busybox and tini are taken where there are any. It makes no folder that it is in, and works inside of its own: what a
# killed controller still had under way ends where somebody removes these
_MAKE = """
umask 022; folder="$1"; image="$2"; shift 2; root="$folder/root"
rm -rf "$folder"; mkdir "$folder" "$root"; cd "$root"; mkdir -p bin usr/bin tmp etc proc sys dev
find_first() { for name in "$@"; do command -v "$name" && return; done; echo "no program $1" >&2; return 1; }
copy() {  # file, where it goes
  mkdir -p ".$(dirname "$2")"; cp -L "$1" ".$2"; chmod 755 ".$2"
  ldd "$1" 2> /dev/null | grep -o '/[^ ]*' | while read -r library; do
    [ -e ".$library" ] || { mkdir -p ".$(dirname "$library")"; cp -L "$library" ".$library"; }
  done
}
copy "$(find_first busybox)" /bin/busybox
copy "$(find_first tini-static tini docker-init)" /usr/bin/tini
ln -s busybox bin/sh
for name in "$@"; do copy "$(find_first "$name")" "/usr/bin/$name"; done
echo 'root:x:0:0:root:/:/bin/sh' > etc/passwd; cd /
pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -C "$1" -cf "$2" "$3"; }
mkdir "$folder/image"; pack "$root" "$folder/image/layer.tar" .; rm -rf "$root"
layer=$(sha256sum "$folder/image/layer.tar" | cut -d' ' -f1)
arch=$(uname -m); case $arch in x86_64) arch=amd64;; aarch64) arch=arm64;; esac
config="{\\"architecture\\":\\"$arch\\",\\"os\\":\\"linux\\",\\"created\\":\\"1970-01-01T00:00:00Z\\",\
\\"config\\":{\\"Env\\":[\\"PATH=/usr/bin:/bin\\"],\\"Entrypoint\\":[\\"/usr/bin/tini\\",\\"--\\"],\
\\"Cmd\\":[\\"/bin/busybox\\",\\"sleep\\",\\"2147483647\\"]},\
\\"rootfs\\":{\\"type\\":\\"layers\\",\\"diff_ids\\":[\\"sha256:$layer\\"]}}"
name=$(printf %s "$config" | sha256sum | cut -d' ' -f1).json
printf %s "$config" > "$folder/image/$name"
printf '[{"Config":"%s","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" "$image" > "$folder/image/manifest.json"
pack "$folder/image" "$folder.tar" .; rm -rf "$folder"
"""

# a client waits for a daemon that is not there
_WHERE_IT_LISTENS = '[ ! -S "$0" ] || exec "$@"'


def archive(image: str) -> str:
    """Where a node has that image as a file."""
    return f"{IMAGES}/{image.rpartition('/')[2].partition(':')[0]}.tar"


def make(image: str) -> Command:
    """Write the image's archive, into a folder that is there."""
    folder = archive(image).removesuffix(".tar")
    return Command(("sh", "-ec", _MAKE, "sh", folder, image, *PROGRAMS[image]), timeout_s=60)


def written() -> Fact[Plan]:
    """Ensure that the archives of all images are there."""
    paths = {image: archive(image) for image in PROGRAMS}

    def plan(completed: Sequence[Completed]) -> Plan:
        lacking = [image for image, one in zip(paths, completed, strict=True) if one.exit_code]
        steps = (Command(("mkdir", "-p", IMAGES)), *map(make, lacking)) if lacking else ()
        return Plan(steps, unified_diff("images", "", "\n".join(lacking)))

    return Fact(tuple(Command(("test", "-s", path), ok=(0, 1)) for path in paths.values()), plan)


def imported() -> Fact[Plan]:
    """Ensure that our containerd, which runs by then, has all images."""

    def plan(completed: Sequence[Completed]) -> Plan:
        held = completed[0].stdout.split()
        lacking = [image for image in PROGRAMS if image not in held]
        steps = tuple(Command(ctr("images", "import", archive(image)), timeout_s=120) for image in lacking)
        return Plan(
            steps, unified_diff("images of containerd", "\n".join(held), "\n".join((*held, *lacking)))
        )

    return Fact(
        (Command(("sh", "-c", _WHERE_IT_LISTENS, SOCKET, *ctr("images", "ls", "-q")), ok=(0, 1)),), plan
    )
