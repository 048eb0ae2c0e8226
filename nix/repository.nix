# Where this flake is, as it is written in messages and commands.
"github:OWNER/REPO"
