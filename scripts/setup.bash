# Makes the environment and builds the interfaces; each step is skipped when nothing that it depends
# on has changed. Sourced by run. Reads ROOT, ROS_DISTRO, PYTHON, VR_ROS_TRAINING; sets DISTRO,
# OPT_ROS, VENV, WORKSPACE.
# shellcheck shell=bash

WHEEL_DISTROS='jazzy kilted'
OPT_ROS_ROOT=${VR_ROS_OPT_ROS:-/opt/ros}

say() { printf '[run] %s\n' "$*" >&2; }

fail() {
  printf 'run: %s\n' "$*" >&2
  exit 1
}

usage_error() {
  printf 'run: %s\n' "$*" >&2
  exit 2
}

# Decides which ROS 2 is used: the one asked for, else one that is installed, else the wheels of the
# LTS.
choose_distro() {
  local installed
  DISTRO=${ROS_DISTRO:-}
  if [[ -z $DISTRO ]]; then
    DISTRO=jazzy
    for installed in lyrical kilted jazzy; do
      [[ ! -f $OPT_ROS_ROOT/$installed/setup.bash ]] || DISTRO=$installed
    done
  fi
  OPT_ROS=''
  if [[ -f $OPT_ROS_ROOT/$DISTRO/setup.bash ]]; then
    OPT_ROS=$OPT_ROS_ROOT/$DISTRO
  elif [[ " $WHEEL_DISTROS " != *" $DISTRO "* ]]; then
    usage_error "ROS 2 '$DISTRO' is not in $OPT_ROS_ROOT; there are wheels for: $WHEEL_DISTROS"
  fi
  VENV=$ROOT/.venv
  [[ $DISTRO == jazzy ]] || VENV=$ROOT/.venv-$DISTRO
  WORKSPACE=$ROOT/.ws/$DISTRO
}

require_build_tools() {
  command -v c++ >/dev/null || fail 'no C++ compiler; install it: apt-get install build-essential'
  command -v cmake >/dev/null || fail 'no cmake; install it: apt-get install cmake'
}

require_egl() {
  local library
  for library in /usr/lib/*/libEGL.so.1 /usr/lib/libEGL.so.1 /usr/lib64/libEGL.so.1; do
    [[ ! -e $library ]] || return 0
  done
  [[ $(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null) != *libEGL.so.1* ]] || return 0
  fail 'no EGL for the simulated camera; install it: apt-get install libegl1 libgl1-mesa-dri'
}

require_python() {
  local python=$1
  command -v "$python" >/dev/null \
    || fail "no $python; install it: apt-get install python3 python3-venv python3-dev"
  "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
    || fail "$("$python" --version) is out of range; name one of 3.11 to 3.13: PYTHON=python3.12 ./run …"
  "$python" -c 'import ensurepip, venv' 2>/dev/null \
    || fail 'Python without venv; install it: apt-get install python3-venv'
  [[ -f $("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h ]] \
    || fail 'Python without its headers; install them: apt-get install python3-dev'
}

# Prints a hash of the files named.
hash_files() { cat -- "$@" | sha256sum | cut -c1-32; }

requirement_files() {
  local folder=$ROOT/requirements
  printf '%s\n' "$folder/runtime.txt" "$folder/test.txt"
  if [[ -n $OPT_ROS ]]; then
    printf '%s\n' "$folder/constraints-opt-ros.txt"
  else
    printf '%s\n' "$folder/build.txt" "$folder/ros-$DISTRO.txt" "$folder/constraints.txt"
  fi
}

# Runs a command with its output in a log file, of which the end is shown if the command fails.
logged() {
  local what=$1 log=$2 start=$SECONDS
  shift 2
  say "$what …"
  if ! "$@" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    fail "$what failed; whole output: $log"
  fi
  say "$what: done in $((SECONDS - start)) s"
}

make_venv() {
  local python=${PYTHON:-python3} options=()
  [[ -z $OPT_ROS ]] || { python=${PYTHON:-/usr/bin/python3}; options=(--system-site-packages); }
  require_python "$python"
  logged "making ${VENV##*/} with $("$python" --version)" "$WORKSPACE/venv.log" \
    "$python" -m venv "${options[@]}" "$VENV"
}

# Scripts in an environment hold its absolute path. One that was moved or copied is left alone: it
# may be in use.
require_own_venv() {
  grep -qF -e "VIRTUAL_ENV=$VENV" -e "VIRTUAL_ENV=\"$VENV\"" -e "VIRTUAL_ENV='$VENV'" \
    "$VENV/bin/activate" \
    || fail "$VENV was made for another place; remove it and run this again"
}

install_packages() {
  local file arguments=()
  while read -r file; do
    if [[ $file == */constraints* ]]; then arguments+=(-c "$file"); else arguments+=(-r "$file"); fi
  done < <(requirement_files)
  logged "installing packages into ${VENV##*/} (first time: some minutes)" "$WORKSPACE/pip.log" \
    "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar off \
    "${arguments[@]}"
  if [[ -z $OPT_ROS ]]; then
    logged 'fixing paths in the ROS wheels' "$WORKSPACE/paths.log" \
      "$VENV/bin/python" "$ROOT/scripts/fix_wheel_paths.py"
  fi
}

ensure_packages() {
  local files stamp
  mapfile -t files < <(requirement_files)
  stamp="$VENV $OPT_ROS $(hash_files "${files[@]}" "$ROOT/scripts/fix_wheel_paths.py")"
  [[ ! -x $VENV/bin/python || $(cat "$VENV/vr_ros.stamp" 2>/dev/null) != "$stamp" ]] || return 0
  # Without activate, an earlier run was interrupted: making it again completes it and removes nothing.
  [[ -x $VENV/bin/python && -f $VENV/bin/activate ]] || make_venv
  require_own_venv
  install_packages
  printf '%s\n' "$stamp" >"$VENV/vr_ros.stamp"
}

# The trainers of reinforcement learning, for those who ask for them: no robot needs them.
ensure_trainers() {
  local folder=$ROOT/requirements constraints stamp
  constraints=$folder/constraints.txt
  [[ -z $OPT_ROS ]] || constraints=$folder/constraints-opt-ros.txt
  stamp="$(cat "$VENV/vr_ros.stamp") $(hash_files "$folder/train.txt")"
  [[ $(cat "$VENV/vr_ros_train.stamp" 2>/dev/null) != "$stamp" ]] || return 0
  logged "installing what train grpo needs into ${VENV##*/} (once)" "$WORKSPACE/pip_train.log" \
    "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar off \
    -r "$folder/train.txt" -c "$constraints"
  printf '%s\n' "$stamp" >"$VENV/vr_ros_train.stamp"
}

# Lays out the package as links: CMake refuses include directories below the source directory, and
# .venv lies in ROOT. Installed launch and config files are then links too, so an edit needs no
# build. What is installed stays in place: other processes may be using it.
stage_sources() {
  local stage=$WORKSPACE/src/vr_ros name
  rm -rf "$WORKSPACE/src"
  mkdir -p "$stage"
  for name in CMakeLists.txt package.xml LICENSE action config executables launch msg srv vr_ros; do
    cp -rs --no-target-directory "$ROOT/$name" "$stage/$name"
  done
  ln -s "$ROOT/test" "$stage/test"
}

# Python is read from the source tree, so only interfaces, build files and the names of installed
# files count.
build_stamp() {
  local folders=("$ROOT"/{msg,srv,action,launch,config,executables})
  printf '%s %s %s ' "$VENV" "$OPT_ROS" "$(readlink -f "$VENV/bin/python")"
  {
    find "${folders[@]}" -type f -not -name '*.pyc' -print | LC_ALL=C sort
    cat "$ROOT"/{msg,srv,action}/* "$ROOT/CMakeLists.txt" "$ROOT/package.xml" "$VENV/vr_ros.stamp"
  } | sha256sum | cut -c1-32
}

colcon_build() (
  cd "$WORKSPACE" || exit
  colcon --log-base log build --base-paths src --packages-select vr_ros \
    --cmake-args -DCMAKE_BUILD_TYPE=Release "-DPython3_EXECUTABLE=$VENV/bin/python"
)

ensure_build() {
  local stamp
  stamp=$(build_stamp)
  [[ $(cat "$WORKSPACE/build.stamp" 2>/dev/null) != "$stamp" ]] || return 0
  rm -f "$WORKSPACE/build.stamp"
  require_build_tools
  stage_sources
  enter_ros
  command -v colcon >/dev/null \
    || fail 'no colcon; install it: apt-get install python3-colcon-common-extensions'
  logged 'building the interfaces' "$WORKSPACE/build.log" colcon_build
  printf '%s\n' "$stamp" >"$WORKSPACE/build.stamp"
}

ensure_workspace() {
  local lock
  choose_distro
  mkdir -p "$WORKSPACE"
  exec {lock}>"$WORKSPACE/lock"
  if ! flock --nonblock "$lock"; then
    say 'waiting for another ./run to finish its set-up'
    flock "$lock"
  fi
  if [[ -z $OPT_ROS && ! -d $VENV ]]; then require_build_tools; fi
  ensure_packages
  [[ ${VR_ROS_TRAINING:-0} == 0 ]] || ensure_trainers
  ensure_build
  exec {lock}>&-
}
