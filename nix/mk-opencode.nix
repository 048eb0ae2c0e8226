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
  # Sources of models.dev, or an api.json: used unless the catalogue compiled into OpenCode is newer. null: that one.
  # `opencode-cache.inputs.models-dev` is the revision that this flake pins, and the evaluation downloads it.
  models ? null,
  # Whether the cache links the OpenCode that is started as tui/tui-<version>.
  withTui ? true,
  # Whether OpenCode is told not to look for updates and newer catalogues.
  offline ? true,
  # Packages whose programs OpenCode shall find, after the user's own: language servers, formatters.
  extraPackages ? [ ],
  # Where tarballs come from: { default = "https://npm.example.com"; "@scope" = …; }, or a list for each, tried in
  # order. Without a default: NPM_CONFIG_REGISTRY of whoever builds, or else what the npm in nixpkgs knows.
  registries ? { },
  # The same as `registries.default`.
  mirror ? null,
  # Whether npm itself downloads them, with its own configuration: for registries with a login.
  withNpm ? false,
}:
let
  inherit (pkgs) lib;
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
      withNpm
      ;
    registries = lib.optionalAttrs (mirror != null) { default = mirror; } // registries;
  };
}
