# mkOpencode : { pkgs, … } -> OpenCode with a cache of your own, as a package.
#
#   mkOpencode { inherit pkgs; lock = ./opencode-cache.lock.json; }
#
# The result has `.cache` (the cache it starts with), `.override` and `.tests`.
{ inputs }:
{
  pkgs,
  # The OpenCode that is started.
  opencode ? pkgs.opencode,
  # What is in the cache: `nix run .#lock -- --plugin NAME -o FILE` writes it. null: the shipped lock.
  lock ? null,
  # OpenCode's arguments, one string for each start, that must work without asking the registry.
  # [ ]: no warm-up; null: what the lock says, or else `models`.
  warmup ? null,
  # Sources of models.dev, or an api.json: used unless the catalogue compiled into OpenCode is newer. null: none.
  models ? inputs.models-dev,
  # Whether the cache links the release binary as tui/tui-<version>.
  withTui ? true,
  # Whether OpenCode is told not to look for updates and newer catalogues.
  offline ? true,
  # Packages whose programs OpenCode shall find, after the user's own: language servers, formatters.
  extraPackages ? [ ],
  # URL of a registry for the tarballs, instead of npm with npm's own configuration.
  mirror ? null,
}:
let
  ours = (import ./packages.nix { inherit pkgs inputs; }).public;
in
ours.opencode-with-cache.override {
  inherit opencode offline extraPackages;
  opencode-cache = ours.opencode-cache.override {
    inherit
      opencode
      lock
      warmup
      models
      withTui
      mirror
      ;
  };
}
