# Start-up file of the interactive shell that ./run shell opens.
# shellcheck shell=bash
if [[ -f ~/.bashrc ]]; then
  # shellcheck source=/dev/null
  source ~/.bashrc
fi
PS1="${VR_ROS_PROMPT:-}${PS1:-\w\$ }"
