# OpenCode has its sessions in opencode.db if its channel is latest, beta or prod, and in opencode-CHANNEL.db otherwise,
# unless this is set (src/storage/db.ts, 1.18). The channel of nixpkgs' build is "stable".
{
  OPENCODE_DISABLE_CHANNEL_DB = "1";
}
