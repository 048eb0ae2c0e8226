{
  description = "OpenCode with my plugins in its cache";

  inputs = {
    opencode-cache.url = "github:OWNER/REPO";
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    opencode-cache.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { nixpkgs, opencode-cache, ... }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      eachSystem = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      packages = eachSystem (pkgs: {
        default = opencode-cache.lib.mkOpencode {
          inherit pkgs;
          lock = ./opencode-cache.lock.json;
        };
      });

      apps = eachSystem (pkgs: {
        inherit (opencode-cache.apps.${pkgs.stdenv.hostPlatform.system}) lock;
      });
    };
}
