# The same flake for `?dir=opencode`: inputs and lock are those of ../flake.nix, and a check compares them.
{
  description = "OpenCode with everything that it would download: pinned by hash, built without a network";

  # Only what a consumer may want to follow or replace. `tui-*` are OpenCode's releases; nix/releases.json has
  # their version, since a flake's input URLs must be literals. Of them flake.lock alone is read, so that evaluation
  # downloads none, and of models-dev nothing, unless it is given as `models`.
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    models-dev = {
      url = "github:anomalyco/models.dev";
      flake = false;
    };
    tui-linux-x64 = {
      url = "https://github.com/anomalyco/opencode/releases/download/v1.18.21/opencode-linux-x64-baseline.tar.gz";
      flake = false;
    };
    tui-linux-arm64 = {
      url = "https://github.com/anomalyco/opencode/releases/download/v1.18.21/opencode-linux-arm64.tar.gz";
      flake = false;
    };
    tui-darwin-arm64 = {
      url = "https://github.com/anomalyco/opencode/releases/download/v1.18.21/opencode-darwin-arm64.zip";
      flake = false;
    };
  };

  outputs = inputs: import ../nix/outputs.nix inputs;
}
