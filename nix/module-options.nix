/**
  The options that the modules for home-manager, NixOS and nix-darwin share, as a module: `programs.opencode-cache.*`.

  What they come to is in `finalPackage` and `finalSettings`; module-checks.nix holds them against the lock.

  # Type

  ```
  moduleOptions :: { mkOpencode } -> module
  ```
*/
{ mkOpencode }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) literalExpression mkOption types;
  cfg = config.programs.opencode-cache;

  # The description of a type is what the error about a wrong value says.
  described = description: type: type // { inherit description; };
  names =
    what: example:
    described "list of names of npm packages, those of ${what}, as [ \"${example}\" ]" (
      types.listOf (
        described "name of an npm package as OpenCode asks for it, `name` or `name@version`, as \"${example}\"" (
          types.addCheck types.str (text: builtins.match "[^[:space:]]+" text != null)
        )
      )
    );

  inherit (lib.importJSON ./rules.json) formatters servers;
  nameOf = tool: builtins.head (builtins.match "(@?[^@]+)(@.*)?" tool);
  tools = map nameOf cfg.tools;
  formats = lib.any (tool: lib.elem tool formatters) tools;
  # One that OpenCode does not know is a server of the user's, or nothing.
  serves = lib.any (tool: lib.elem tool servers || !lib.elem tool formatters) tools;
  # Both are off unless the config says otherwise, in 1.18; the schema of 1.0 does not know `true`.
  knowsTrue = lib.versionAtLeast (cfg.package.version or "0") "1.18";

  ready = cfg.package ? cache;
  repository = import ./repository.nix;
in
{
  key = "opencode-cache/nix/module-options.nix";
  _file = "opencode-cache/nix/module-options.nix";

  options.programs.opencode-cache = {
    enable = lib.mkEnableOption "OpenCode with everything that it would download: pinned, and there without a network";

    package = lib.mkPackageOption pkgs "opencode" {
      nullable = true;
      example = "inputs.opencode-cache.packages.\${pkgs.stdenv.hostPlatform.system}.opencode-release";
      extraDescription = ''
        The OpenCode that the cache is for. A package that has a cache already, as
        `inputs.opencode-cache.lib.mkOpencode { … }` makes it, is taken as it is; `lock`, `offline` and
        `extraPackages` are then to be given there. `null` installs none, and writes the configuration alone.
      '';
    };

    onUnsupported = mkOption {
      type = types.enum [
        "bare"
        "throw"
      ];
      default = "bare";
      example = "throw";
      description = ''
        What happens where there is no lock for that OpenCode, as after an update of nixpkgs. `"bare"`: OpenCode without
        a cache, and a warning. `"throw"`: evaluation ends with the sentence that the warning has.
      '';
    };

    unsupported = mkOption {
      type = types.nullOr types.str;
      readOnly = true;
      internal = true;
      default =
        if ready || cfg.lock != null || !(cfg.package ? version) then
          null
        else
          (import ./lock-for.nix { inherit lib; } cfg.package.version).problem;
      defaultText = literalExpression "null";
      example = "there is no lock for OpenCode 1.17.0";
      description = "Why there is no cache for that OpenCode; null where there is one.";
    };

    lock = mkOption {
      type = described "null or the path of a lock file, written by `nix run ${repository}#lock -- -o opencode-cache.lock.json` (`./opencode-cache.lock.json`, without quotes)" (
        types.nullOr types.path
      );
      default = null;
      example = literalExpression "./opencode-cache.lock.json";
      description = ''
        What is in the cache, with versions and hashes. `null`: the lock that comes with this flake for that version of
        OpenCode, which has the SDKs that OpenCode does not bundle, and no plugins and tools.

        `nix run ${repository}#lock -- --plugin NAME --provider NAME --tool NAME -o opencode-cache.lock.json`
        writes one.
      '';
    };

    providers = mkOption {
      type = names "SDKs of providers" "@ai-sdk/fireworks";
      default = [ ];
      example = [ "@ai-sdk/fireworks" ];
      description = ''
        SDKs that the cache must have, by the names of their npm packages: evaluation fails where the lock lacks one.
        An SDK that OpenCode bundles need not be named. Which models use it is said under `settings.provider`.
      '';
    };

    plugins = mkOption {
      type = names "plugins" "opencode-gemini-auth";
      default = [ ];
      example = [ "opencode-gemini-auth" ];
      description = ''
        Plugins that OpenCode loads, spelled as they stand in `opencode.json`, where this option puts them.
        Each has to be in the `lock`.
      '';
    };

    tools = mkOption {
      type = names "language servers and formatters" "pyright";
      default = [ ];
      example = [
        "pyright"
        "prettier"
      ];
      description = ''
        Language servers and formatters that OpenCode would install from npm. Each has to be in the `lock`. From
        OpenCode 1.18 on they are switched on (`settings.lsp`, `settings.formatter`), unless you set those.
      '';
    };

    extraPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = literalExpression "[ pkgs.gopls pkgs.rust-analyzer ]";
      description = ''
        Programs that OpenCode finds if PATH does not have them: language servers that it would download from
        elsewhere than npm.
      '';
    };

    settings = mkOption {
      inherit (pkgs.formats.json { }) type;
      default = { };
      example = {
        model = "anthropic/claude-sonnet-4-5";
        share = "disabled";
      };
      description = ''
        OpenCode's configuration, the content of `opencode.json`. `$schema` and `plugin` are added. See
        <https://opencode.ai/docs/config/>. The file is readable by everybody: no API keys.
      '';
    };

    offline = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether OpenCode is told not to look for updates and newer model catalogues, and what `settings` name and
        the lock lacks is an error: plugins at evaluation, SDKs, `npx` servers, addresses and the like when the file is built. The environment of whoever starts it wins.
      '';
    };

    shareSessions = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether nixpkgs' OpenCode has its sessions where OpenCode's own releases have theirs (`opencode.db` in the data
        directory), and not in a database of its own (`opencode-stable.db`). For whoever changes between the two. A
        database that a newer version has written is not always read by an older one.
      '';
    };

    finalPackage = mkOption {
      type = types.nullOr types.package;
      readOnly = true;
      default =
        if cfg.package == null || ready || (cfg.unsupported != null && cfg.onUnsupported == "bare") then
          cfg.package
        else
          mkOpencode (
            {
              inherit pkgs;
              inherit (cfg) lock offline;
              opencode = cfg.package;
            }
            // lib.optionalAttrs (cfg.extraPackages != [ ]) { inherit (cfg) extraPackages; }
          );
      defaultText = literalExpression "mkOpencode { opencode = package; inherit lock offline extraPackages; }";
      example = literalExpression "config.programs.opencode-cache.finalPackage";
      description = "The OpenCode with its cache, made of the other options; to be read, for use elsewhere.";
    };

    finalSettings = mkOption {
      inherit (pkgs.formats.json { }) type;
      readOnly = true;
      internal = true;
      default =
        let
          # An entry may be a list of a name and its options.
          nameOf = entry: if builtins.isList entry then lib.head entry else entry;
          theirs = lib.unique (cfg.settings.plugin or [ ]);
          plugins =
            theirs ++ lib.filter (name: !lib.elem name (map nameOf theirs)) (lib.unique cfg.plugins);
        in
        lib.optionalAttrs (serves && knowsTrue) { lsp = true; }
        // lib.optionalAttrs (formats && knowsTrue) { formatter = true; }
        // cfg.settings
        // lib.optionalAttrs (plugins != [ ]) { plugin = plugins; };
      defaultText = literalExpression "settings with plugin, lsp and formatter";
      example = { plugin = [ "opencode-gemini-auth" ]; };
      description = "What `settings`, `plugins` and `tools` come to.";
    };

    settingsFile = mkOption {
      type = types.raw;
      readOnly = true;
      internal = true;
      default =
        let
          written = (pkgs.formats.json { }).generate "opencode.json" (
            { "$schema" = "https://opencode.ai/config.json"; } // cfg.finalSettings
          );
          check = cfg.finalPackage.cache.checkSettings or lib.id;
        in
        if cfg.offline then check written else written;
      defaultText = literalExpression "opencode.json of finalSettings, checked";
      example = literalExpression "config.programs.opencode-cache.settingsFile";
      description = "`finalSettings` as a file, which is not built where it names what the lock lacks.";
    };
  };
}
