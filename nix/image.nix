/**
  An OCI image whose entry point is OpenCode with its cache, as a program that writes it to its standard output:
  `$(nix build --print-out-paths .#image) | podman load`.

  Reproducible: no times, and a layer for each store path. The user is 1000, who has a home, /work and /tmp to write.

  # Type

  ```
  image :: { opencode-with-cache, dockerTools, … } -> derivation
  ```
*/
{
  lib,
  bash,
  coreutils,
  dockerTools,
  git,
  opencode-with-cache,
}:
dockerTools.streamLayeredImage {
  name = "opencode";
  tag = opencode-with-cache.version;
  # What the commands of the agent find; the certificates are for the model's provider.
  contents = [
    bash
    coreutils
    git
    dockerTools.binSh
    dockerTools.caCertificates
    dockerTools.usrBinEnv
  ];
  extraCommands = "mkdir -p -m 1777 home/opencode work tmp";
  config = {
    Entrypoint = [ (lib.getExe opencode-with-cache) ];
    User = "1000:1000";
    WorkingDir = "/work";
    Env = [
      "HOME=/home/opencode"
      "SHELL=${lib.getExe bash}"
    ];
    Labels = {
      "org.opencontainers.image.title" = "OpenCode with its cache";
      "org.opencontainers.image.version" = opencode-with-cache.version;
      "org.opencontainers.image.url" = opencode-with-cache.meta.homepage;
      "org.opencontainers.image.licenses" = lib.concatMapStringsSep " AND " (
        license: license.spdxId or license.fullName
      ) (lib.toList opencode-with-cache.meta.license);
    };
  };
}
