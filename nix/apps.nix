/**
  Programs for `nix run`: OpenCode itself, and the steps that need a network.

  # Type

  ```
  apps :: { pkgs, ours } -> { NAME = { type, program, meta }; … }
  ```
*/
{ pkgs, ours }:
let
  inherit (pkgs) lib;
  step = name: stepWith name name;
  # `words` are the command, and options that are always given.
  stepWith =
    name: words: description: tools:
    let
      program = pkgs.writeShellApplication {
        name = "opencode-cache-${name}";
        runtimeInputs = [ ours.public.opencode-cache-builder ] ++ tools;
        text = ''exec opencode-cache ${words} "$@"'';
      };
    in
    {
      type = "app";
      program = lib.getExe program;
      meta = { inherit description; };
    };
in
{
  default = {
    type = "app";
    program = lib.getExe ours.public.opencode-with-cache;
    meta.description = "OpenCode with its cache in place";
  };
  lock = step "lock" "Resolve plugins, SDKs and tools to exact versions and hashes: a lock file" [
    pkgs.nodejs # npm
  ];
  remove = stepWith "remove" "remove --user" "Take the wrapper's links and copies out of your directories" [
    pkgs.coreutils
  ];
  update = step "update" "Move a checkout's pins to the newest OpenCode, models.dev and nixpkgs" [
    pkgs.nodejs # npm
    pkgs.nix-prefetch-github
    pkgs.ripgrep
  ];
}
