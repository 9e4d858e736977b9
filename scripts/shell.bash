# Start-up file of the interactive shell that ./run shell opens.
# shellcheck shell=bash
# The user's own file may put another Python, or another ROS, before the ones of the environment.
vr_ros_path=$PATH vr_ros_libraries=${LD_LIBRARY_PATH:-} vr_ros_modules=${PYTHONPATH:-}
if [[ -f ~/.bashrc ]]; then
  # shellcheck source=/dev/null
  source ~/.bashrc
fi
export PATH=$vr_ros_path LD_LIBRARY_PATH=$vr_ros_libraries PYTHONPATH=$vr_ros_modules
unset vr_ros_path vr_ros_libraries vr_ros_modules
PS1="${VR_ROS_PROMPT:-}${PS1:-\w\$ }"
