/**
  The flake's outputs.

  # Type

  ```
  outputs :: inputs -> { packages, overlays, lib, homeModules, darwinModules, nixosModules, … }
  ```
*/
inputs@{ self, nixpkgs, ... }:
let
  inherit (nixpkgs) lib;
  systems = lib.attrNames (lib.importJSON ./releases.json);
  eachSystem = f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
  packagesFor = pkgs: import ./packages.nix { inherit pkgs inputs; };
  mkOpencode = import ./mk-opencode.nix { inherit inputs; };
in
{
  packages = eachSystem (
    pkgs:
    let
      ours = packagesFor pkgs;
    in
    ours.public // ours.images // { default = ours.public.opencode-with-cache; }
  );

  # OpenCode is the one that the overlays before this one made.
  overlays.default =
    final: prev:
    (import ./packages.nix {
      pkgs = final;
      inherit inputs;
      inherit (prev) opencode;
    }).public;

  lib = { inherit mkOpencode; };

  homeModules.default = import ./home-module.nix { inherit mkOpencode; };

  darwinModules.default = import ./darwin-module.nix { inherit mkOpencode; };

  nixosModules.default = import ./nixos-module.nix { inherit mkOpencode; };

  # Not among the checks: it needs a builder that runs virtual machines. `nix build .#nixos-test`
  legacyPackages = eachSystem (
    pkgs:
    lib.optionalAttrs (pkgs.stdenv.hostPlatform.isLinux && pkgs ? testers.runNixOSTest) {
      nixos-test = import ./nixos-test.nix {
        inherit pkgs;
        module = self.nixosModules.default;
      };
    }
  );

  apps = eachSystem (pkgs: import ./apps.nix { inherit pkgs; ours = packagesFor pkgs; });

  checks = eachSystem (pkgs: import ./checks.nix { inherit pkgs; ours = packagesFor pkgs; });

  devShells = eachSystem (pkgs: {
    default = pkgs.callPackage ./dev-shell.nix { };
  });

  formatter = eachSystem (pkgs: pkgs.nixfmt-tree);

  templates.default = {
    path = ../templates/default;
    description = "A flake of your own: OpenCode with your plugins in its cache";
    welcomeText = ''
      Make the lock, once and after each change of your plugins (needs the npm registry):

          nix run .#lock -- --plugin opencode-gemini-auth -o opencode-cache.lock.json
          git add opencode-cache.lock.json

      Then `nix run .` starts OpenCode, and `nix profile install .` installs it.
    '';
  };
}
