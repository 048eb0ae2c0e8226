# { lib, pkgs } -> { pairs, options }: name of a test -> { expr, expected }, and the names of the modules' options.
#
# A name is that of an option and what is tested, "programs.opencode-cache.lock: …"; each option has one at least.
# mkOpencode's arguments and the rules shared with Python are tested here as well.
# `lib` may be nixpkgs' own or the stand-in's: the modules use nothing that one of them lacks. What surrounds the
# modules is small enough to be told here; with home-manager itself and on a NixOS machine they are tried elsewhere.
{ lib, pkgs }:
let
  inherit (lib) mkOption types;

  # A package that says what it was made of, and nothing that would have to be built.
  package = name: more: {
    type = "derivation";
    inherit name;
    outPath = "/nix/store/00000000000000000000000000000000-${name}";
    meta.mainProgram = name;
  } // more;
  opencode = package "opencode" { version = "1.18.33"; };
  mkOpencode =
    arguments:
    package "opencode-with-cache-${builtins.hashString "md5" arguments.opencode.name}" {
      meta.mainProgram = "opencode";
      arguments = removeAttrs arguments [ "pkgs" ];
    };
  tools = lib.genAttrs [ "bash" "git" "nodejs" "systemd" "tinyproxy" ] (name: package name { });
  quietPkgs =
    tools
    // {
      inherit opencode;
      formats.json = arguments: {
        inherit (pkgs.formats.json arguments) type;
        generate = name: value: package name { inherit value; };
      };
      writeText = name: text: package name { inherit text; };
      runCommand = name: _: script: package name { inherit script; };
    };

  open = mkOption {
    type = types.attrsOf types.raw;
    default = { };
  };
  surroundings = {
    options = {
      assertions = mkOption {
        type = types.listOf types.raw;
        default = [ ];
      };
      warnings = mkOption {
        type = types.listOf types.str;
        default = [ ];
      };
      home.packages = packages;
      home.sessionVariables = open;
      environment.systemPackages = packages;
      environment.etc = open;
      environment.variables = open;
      xdg.configFile = open;
      systemd.services = open;
      systemd.sockets = open;
      systemd.tmpfiles.rules = mkOption {
        type = types.listOf types.str;
        default = [ ];
      };
    };
  };
  packages = mkOption {
    type = types.listOf types.package;
    default = [ ];
  };
  # home-manager's own module, as far as ours touches it.
  theirs = {
    options.programs.opencode = {
      enable = lib.mkEnableOption "opencode";
      package = mkOption {
        type = types.nullOr types.package;
        default = opencode;
      };
      settings = mkOption {
        inherit (pkgs.formats.json { }) type;
        default = { };
      };
    };
  };

  evaluate =
    modules: configuration:
    lib.evalModules {
      modules = [ surroundings ] ++ modules ++ [ configuration ];
      specialArgs = {
        inherit lib;
        pkgs = quietPkgs;
      };
    };
  homeModule = import ../home-module.nix { inherit mkOpencode; };
  nixosModule = import ../nixos-module.nix { inherit mkOpencode; };
  messages =
    evaluated:
    map (assertion: assertion.message) (
      lib.filter (assertion: !assertion.assertion) evaluated.config.assertions
    );

  with' = {
    inherit lib opencode messages package tools;
    lock = ./lock.json;
    home = evaluate [ homeModule ];
    homeWithTheirs = evaluate [
      homeModule
      theirs
    ];
    darwin = evaluate [ (import ../darwin-module.nix { inherit mkOpencode; }) ];
    nixos = evaluate [ nixosModule ];
    twice = evaluate [
      nixosModule
      nixosModule
    ];
    refused = evaluated: value: !(builtins.tryEval (builtins.deepSeq (value evaluated.config) true)).success;
  };
  pairs = lib.foldl' (known: file: known // import file with') { } [
    ./arguments.nix
    ./darwin.nix
    ./home.nix
    ./licenses.nix
    ./nixos.nix
    ./rules.nix
    ./server.nix
  ];

  # Every option says what it is for, and is tested.
  declared = where: options: lib.mapAttrsToList (name: option: { name = "${where}.${name}"; } // option) options;
  inherit (nixosModule') options;
  nixosModule' = evaluate [ nixosModule ] { };
  all =
    declared "programs.opencode-cache" options.programs.opencode-cache
    ++ declared "services.opencode-cache" options.services.opencode-cache;
  names = map (option: option.name);
in
{
  options = names (lib.filter (option: !(option.internal or false)) all);
  pairs = pairs // {
    "options: each has a type, an example and a description" = {
      expr = names (lib.filter (option: !(option ? type && option ? example && option ? description)) all);
      expected = [ ];
    };
    "options: each has a test" = {
      expr = names (
        lib.filter (
          option: !(option.internal or false) && !lib.any (lib.hasPrefix "${option.name}:") (lib.attrNames pairs)
        ) all
      );
      expected = [ ];
    };
  };
}
