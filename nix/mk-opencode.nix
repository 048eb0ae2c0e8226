/**
  OpenCode with a cache of your own, as a package.

  The result has `.cache` (the cache it starts with), `.opencode`, `.tests`, `.override` and `.overrideAttrs`. What is
  wrong with an argument is said at evaluation.

  # Type

  ```
  mkOpencode :: { pkgs, … } -> derivation
  ```

  # Example

  ```nix
  mkOpencode { inherit pkgs; lock = ./opencode-cache.lock.json; }
  => «derivation /nix/store/…-opencode-with-cache-1.18.33.drv»
  ```
*/
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
  # Without a lock for this OpenCode: "throw", or "bare" for OpenCode without a cache, and a warning.
  onUnsupported ? "throw",
}:
let
  inherit (pkgs) lib;
  problems = import ./argument-problems.nix { inherit lib; } {
    inherit
      opencode
      lock
      warmup
      models
      withTui
      offline
      extraPackages
      registries
      mirror
      withNpm
      onUnsupported
      ;
  };
  shipped = import ./lock-for.nix { inherit lib; } opencode.version;
  ours = (import ./packages.nix { inherit pkgs inputs; }).public;
  made = ours.opencode-with-cache.override {
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
  };
in
if problems != [ ] then
  throw "opencode-cache: mkOpencode: ${lib.concatStringsSep "\nopencode-cache: mkOpencode: " problems}"
else if lock != null || shipped.path != null then
  made
else if onUnsupported == "bare" then
  lib.warn "opencode-cache: OpenCode comes without a cache: ${shipped.problem}" opencode
else
  throw "opencode-cache: ${shipped.problem}"
