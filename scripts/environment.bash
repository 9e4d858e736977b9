# Enters the environment that the set-up made. Sourced by run after setup.bash.
# shellcheck shell=bash

# Prints a path list: the arguments joined by colons, empty ones left out.
join_paths() {
  local path joined=''
  for path in "$@"; do
    [[ -z $path ]] || joined+=${joined:+:}$path
  done
  printf '%s' "$joined"
}

# Exports what ROS itself needs, and nothing of vr_ros yet.
enter_ros() {
  unset ROS_LOCALHOST_ONLY ROS_STATIC_PEERS ROS_DISCOVERY_SERVER
  unset FASTRTPS_DEFAULT_PROFILES_FILE FASTDDS_DEFAULT_PROFILES_FILE
  if [[ -n $OPT_ROS ]]; then
    set +u
    # shellcheck source=/dev/null
    source "$OPT_ROS/setup.bash"
    set -u
  else
    # Another ROS that this shell has sourced must not mix with the wheels.
    export AMENT_PREFIX_PATH=$VENV CMAKE_PREFIX_PATH=$VENV RMW_IMPLEMENTATION=rmw_fastrtps_cpp
    unset PYTHONPATH PYTHONHOME
    LD_LIBRARY_PATH=$(join_paths "$VENV/lib" "$VENV"/lib/python3.*/site-packages/ros_*.libs)
    # The wheels start each interpreter twice to set the library path, unless told that it is set.
    export LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
  fi
  export ROS_DISTRO=$DISTRO VIRTUAL_ENV=$VENV PATH=$VENV/bin:$PATH PYTHONNOUSERSITE=1
}

# Refuses a domain that ROS could not use: above 232 its ports would be above 65535.
check_domain() {
  local domain=${VR_ROS_DOMAIN_ID:-0}
  if ! [[ $domain =~ ^[0-9]{1,3}$ ]] || ((10#$domain > 232)); then
    usage_error "VR_ROS_DOMAIN_ID is '$domain': it has to be a number from 0 to 232"
  fi
}

# Takes a ROS domain that no other ./run on this machine uses. The lock goes with the process that
# holds the file open.
take_domain() {
  local attempt domain lock
  if [[ -n ${VR_ROS_DOMAIN_ID:-} ]]; then
    export ROS_DOMAIN_ID=$((10#$VR_ROS_DOMAIN_ID))
    return
  fi
  # 1 to 100: above, Linux hands the ports out to other programs.
  for ((attempt = 0; attempt < 100; attempt++)); do
    domain=$((($$ + attempt) % 100 + 1))
    { exec {lock}>"${TMPDIR:-/tmp}/vr_ros_domain_$domain.lock"; } 2>/dev/null || continue
    if flock --nonblock "$lock"; then
      export ROS_DOMAIN_ID=$domain
      return
    fi
    exec {lock}>&-
  done
  fail 'all 100 ROS domains of this machine are taken by other ./run processes'
}

enter_environment() {
  local install=$WORKSPACE/install/vr_ros site
  enter_ros
  site=$(join_paths "$install"/lib/python3.*/site-packages)
  AMENT_PREFIX_PATH=$(join_paths "$install" "${AMENT_PREFIX_PATH:-}")
  # The source tree comes first and extends its path by the installed package, which has the
  # generated interfaces.
  PYTHONPATH=$(join_paths "$ROOT" "$site" "${PYTHONPATH:-}")
  LD_LIBRARY_PATH=$(join_paths "$install/lib" "${LD_LIBRARY_PATH:-}")
  PATH=$install/lib/vr_ros:$PATH
  export AMENT_PREFIX_PATH PYTHONPATH LD_LIBRARY_PATH PATH
  export VR_ROS_PYTHON=${VR_ROS_PYTHON:-$VENV/bin/python}
  export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST MUJOCO_GL=egl HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}
  take_domain
  say "ROS 2 $DISTRO from ${OPT_ROS:-wheels}, domain $ROS_DOMAIN_ID, this machine only"
}
