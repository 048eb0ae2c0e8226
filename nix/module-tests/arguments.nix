# What mkOpencode says of wrong arguments: each by one sentence, and of right ones nothing.
{
  lib,
  opencode,
  package,
  tools,
  lock,
  ...
}:
let
  problems =
    arguments:
    import ../argument-problems.nix { inherit lib; } (
      {
        inherit opencode;
        lock = null;
        warmup = null;
        models = null;
        withTui = true;
        offline = true;
        extraPackages = [ ];
        registries = { };
        mirror = null;
        withNpm = false;
        onUnsupported = "throw";
      }
      // arguments
    );
  command = "nix run ${import ../repository.nix}#lock -- --opencode-version 1.18.33 -o opencode-cache.lock.json";
  here = name: "${toString ./.}/${name}";
  says = name: arguments: sentence: {
    name = "mkOpencode: ${name}";
    value = {
      expr = problems arguments;
      expected = [ sentence ];
    };
  };
  url = "write \"https://npm.example.com\"";
in
lib.listToAttrs [
  {
    name = "mkOpencode: nothing is wrong";
    value = {
      expr = map problems [
        { }
        {
          inherit lock;
          warmup = [ "models" ];
          extraPackages = [ tools.git ];
          registries = {
            default = [
              "https://npm.example.com"
              "http://localhost:4873/"
            ];
            "@mine" = "https://mine.example.com";
          };
          mirror = "https://npm.example.com";
          models = ./lock.json;
          onUnsupported = "bare";
        }
      ];
      expected = [
        [ ]
        [ ]
      ];
    };
  }
  (says "opencode is no package" { opencode = "opencode"; } "opencode: is a string; give a package, as pkgs.opencode")
  (says "opencode has no version" { opencode = package "mine" { }; }
    "opencode: the package mine has no `version`; give it the one that its program says: opencode.overrideAttrs { version = \"1.18.33\"; }"
  )
  (says "opencode has a cache" {
    opencode = package "mine" {
      version = "1.18.33";
      cache = { };
    };
  } "opencode: the package mine has a cache already; give the OpenCode inside: opencode.opencode")
  (says "the lock is not there" { lock = ./missing.json; }
    "lock: ${here "missing.json"} is not there; run `${command}` beside it, then `git add missing.json`, since a flake sees only what git knows"
  )
  (says "the lock is none" { lock = ../releases.json; }
    "lock: ${toString ../releases.json} is no lock of opencode-cache; `${command}` writes one"
  )
  (says "the lock is a text" { lock = ./default.nix; }
    "lock: ${here "default.nix"} is no lock of opencode-cache; `${command}` writes one"
  )
  (says "the lock is for another layout" { lock = ../locks/opencode-cache-1.0.lock.json; }
    "lock: ${toString ../locks/opencode-cache-1.0.lock.json} is for OpenCode 1.0.61, whose cache has another layout (bun) than that of OpenCode 1.18.33 (packages); run `${command}`"
  )
  (says "the lock is its content" { lock = lib.importJSON lock; }
    "lock: is the content of a lock, or a derivation; give the path of a file that is there at evaluation: ./opencode-cache.lock.json"
  )
  (says "the lock is a relative text" { lock = "opencode-cache.lock.json"; }
    "lock: \"opencode-cache.lock.json\" is no path; write ./opencode-cache.lock.json, without quotes"
  )
  (says "warmup is a text" { warmup = "models"; }
    "warmup: is a string; write a list of OpenCode's arguments, one string for each start: [ \"models\" ]"
  )
  (says "warmup has a list in it" { warmup = [ [ "models" ] ]; }
    "warmup: is a list with something in it that is no string; write a list of OpenCode's arguments, one string for each start: [ \"models\" ]"
  )
  (says "extraPackages is a package" { extraPackages = tools.git; }
    "extraPackages: is a package; write a list of packages: [ pkgs.gopls ]"
  )
  (says "extraPackages has a name in it" { extraPackages = [ "gopls" ]; }
    "extraPackages: is a list with something in it that is no package; write a list of packages: [ pkgs.gopls ]"
  )
  (says "models is a switch" { models = true; }
    "models: is a bool; give sources of models.dev (opencode-cache.inputs.models-dev), the path of an api.json, or null"
  )
  (says "mirror has no scheme" { mirror = "npm.example.com"; }
    "mirror: \"npm.example.com\" is not the address of a registry; ${url}"
  )
  (says "mirror is a list" { mirror = [ ]; } "mirror: is a list and is not the address of a registry; ${url}")
  (says "registries is an address" { registries = "https://npm.example.com"; }
    "registries: is a string; write { default = \"https://npm.example.com\"; \"@scope\" = …; }"
  )
  (says "registries has a name that is no scope" { registries.mine = "https://npm.example.com"; }
    "registries: \"mine\" is neither `default` nor a scope; write \"@mine\" = …, if that is one"
  )
  (says "registries has no address" { registries.default = "npm.example.com"; }
    "registries: \"default\": \"npm.example.com\" is not the address of a registry, nor a list of them; ${url}"
  )
  (says "onUnsupported is another word" { onUnsupported = "warn"; }
    "onUnsupported: \"warn\" is neither; write \"bare\" (OpenCode without a cache, and a warning) or \"throw\""
  )
  (says "withTui is a text" { withTui = "yes"; } "withTui: is a string; write true or false")
  (says "withNpm is null" { withNpm = null; } "withNpm: is a null; write true or false")
  (says "offline is a number" { offline = 1; } "offline: is a int; write true or false")
]
