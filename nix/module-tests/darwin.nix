# Tests of `programs.opencode-cache` with nix-darwin, beyond what home.nix has of the shared options.
{
  lib,
  darwin,
  lock,
  messages,
  ...
}:
let
  only = settings: darwin { programs.opencode-cache = { enable = true; } // settings; };
in
{
  "nix-darwin: nothing is there unless enabled" = {
    expr = {
      inherit ((darwin { }).config.environment) systemPackages variables;
    };
    expected = {
      systemPackages = [ ];
      variables = { };
    };
  };
  "nix-darwin: installed for everybody" = {
    expr = map (package: package.arguments.offline) (only { }).config.environment.systemPackages;
    expected = [ true ];
  };
  "nix-darwin: the settings are a file that a variable names" = {
    expr = lib.hasSuffix "-opencode.json" (
      (only {
        inherit lock;
        plugins = [ "opencode-gemini-auth" ];
      }).config.environment.variables.OPENCODE_CONFIG
    );
    expected = true;
  };
  "nix-darwin: a plugin that the lock lacks" = {
    expr = map (lib.hasPrefix "programs.opencode-cache.plugins: \"opencode-nobody\" is not in") (
      messages (only { plugins = [ "opencode-nobody" ]; })
    );
    expected = [ true ];
  };
}
