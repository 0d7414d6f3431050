# Installs the Debian packages that are missing. Sourced by ./run and ./test.

# Prints the names of the packages that are missing, one a line.
missing_packages() {
    command -v redis-server >/dev/null || echo redis-server
    # Debian keeps the server programs of Postgres outside PATH, in a folder for each version.
    command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || echo postgresql
    command -v prometheus >/dev/null || echo prometheus
    if [[ "${1:-}" == for-tests ]]; then
        # Debian's own interpreter: packages of Debian are not seen by another one.
        /usr/bin/python3 -c 'import grpc' 2>/dev/null || echo python3-grpcio
        /usr/bin/python3 -c 'import grpc_tools' 2>/dev/null || echo python3-grpc-tools
        command -v node >/dev/null || echo nodejs
        command -v npm >/dev/null || echo npm
    fi
}

install_missing() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]} > 0)) || return 0
    if ! command -v apt-get >/dev/null; then
        echo "Please install: ${missing[*]} (this machine has no apt-get)." >&2
        return 1
    fi
    local sudo=()
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            echo "Please install as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        sudo=(sudo)
    fi

    echo "Installing ${missing[*]}: the application runs each as a process of its own, with its data in its own folder."
    # Debian starts a service when it is installed, unless this file says no (invoke-rc.d(8)).
    local policy=/usr/sbin/policy-rc.d placed=
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
        "${sudo[@]}" chmod 755 "$policy"
        placed=yes
    fi
    local result=0
    {
        "${sudo[@]}" apt-get update -qq &&
            "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    } >"${TMPDIR:-/tmp}/broker-apt.log" 2>&1 || result=$?
    if [[ -n $placed ]]; then
        "${sudo[@]}" rm -f "$policy"
    fi
    if ((result != 0)); then
        tail -n 20 "${TMPDIR:-/tmp}/broker-apt.log" >&2
        echo "apt-get failed; all of its output is in ${TMPDIR:-/tmp}/broker-apt.log" >&2
    fi
    return "$result"
}

# Installs what the package-lock.json of a folder lists, unless that is there already. Scripts of packages are not run.
install_node_modules() {
    [[ -d $1/node_modules ]] && cmp -s "$1/package-lock.json" "$1/node_modules/.installed" && return 0
    echo "Installing the Node packages of $1"
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error) || return 1
    cp "$1/package-lock.json" "$1/node_modules/.installed"
}

# The demo publishes apt's package index, which a fresh machine or container has not loaded yet.
require_package_index() {
    [[ -z $(apt-cache dumpavail 2>/dev/null | head -c 1) ]] || return 0
    local sudo=()
    ((EUID == 0)) || sudo=(sudo)
    echo "Loading Debian's package index (apt-get update): the demo publishes it."
    "${sudo[@]}" apt-get update -qq
}

# Whether Redis, Postgres and Prometheus will run as programs: the setting Servers decides, or else whether a container
# engine answers. AppHost/Resources/ContainerRuntime.cs says the same.
servers_are_programs() {
    local servers=${Servers:-auto} argument before=
    for argument in "$@"; do
        [[ ${argument,,} == --servers=* ]] && servers=${argument#*=}
        [[ ${before,,} == --servers ]] && servers=$argument
        before=$argument
    done
    case ${servers,,} in
        programs) return 0 ;;
        containers) return 1 ;;
    esac
    local client version
    for client in ${ASPIRE_CONTAINER_RUNTIME:-docker podman}; do
        timeout 10 "$client" info >/dev/null 2>&1 || continue
        # Aspire takes no older Docker than 25; Debian 12 has 20.
        version=$("$client" version --format '{{.Client.Version}}' 2>/dev/null || echo 0)
        [[ $client == docker ]] && ((${version%%.*} < 25)) || return 1
    done
    return 0
}

# A program that was built finds its runtime by DOTNET_ROOT, also where the SDK is in a home folder.
require_dotnet() {
    if ! command -v dotnet >/dev/null; then
        echo "The .NET SDK 10 is missing: https://learn.microsoft.com/dotnet/core/install/linux-debian" >&2
        return 1
    fi
    local root
    root=$(dirname "$(readlink -f "$(command -v dotnet)")")
    [[ ! -d $root/shared ]] || export DOTNET_ROOT=${DOTNET_ROOT:-$root}
}
