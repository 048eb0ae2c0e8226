# Tests of `programs.opencode-cache` in NixOS, beyond what home.nix has of the shared options.
{
  lib,
  nixos,
  twice,
  lock,
  messages,
  ...
}:
let
  only = settings: nixos { programs.opencode-cache = { enable = true; } // settings; };
in
{
  "NixOS: nothing is there unless enabled" = {
    expr = {
      inherit ((nixos { }).config.environment) etc systemPackages;
      inherit ((nixos { }).config.systemd) services;
    };
    expected = {
      etc = { };
      systemPackages = [ ];
      services = { };
    };
  };
  "NixOS: installed for everybody" = {
    expr = map (package: package.arguments.offline) (only { }).config.environment.systemPackages;
    expected = [ true ];
  };
  "NixOS: the settings are the machine's" = {
    expr =
      (only {
        inherit lock;
        plugins = [ "opencode-gemini-auth" ];
        settings.share = "disabled";
      }).config.environment.etc."opencode/opencode.json".source.value;
    expected = {
      "$schema" = "https://opencode.ai/config.json";
      plugin = [ "opencode-gemini-auth" ];
      share = "disabled";
    };
  };
  "NixOS: a plugin that the lock lacks" = {
    expr = map (lib.hasPrefix "programs.opencode-cache.plugins: \"opencode-nobody\" is not in") (
      messages (only { plugins = [ "opencode-nobody" ]; })
    );
    expected = [ true ];
  };
  "NixOS: shared sessions" = {
    expr = (only { shareSessions = true; }).config.environment.variables;
    expected = {
      OPENCODE_DISABLE_CHANNEL_DB = "1";
    };
  };
  "NixOS: the module may be imported twice" = {
    expr = builtins.length (twice { programs.opencode-cache.enable = true; }).config.environment.systemPackages;
    expected = 1;
  };
}
