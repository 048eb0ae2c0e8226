# Tests of the options that both modules share, in home-manager.
{
  lib,
  home,
  homeWithTheirs,
  lock,
  messages,
  opencode,
  package,
  refused,
  tools,
  ...
}:
let
  here = option: "programs.opencode-cache.${option}";
  only = settings: home { programs.opencode-cache = { enable = true; } // settings; };
  final = settings: (only settings).config.programs.opencode-cache.finalPackage.arguments;
  written = evaluated: evaluated.config.xdg.configFile."opencode/opencode.json".source.value;
  schema."$schema" = "https://opencode.ai/config.json";
  together =
    ours: theirs:
    homeWithTheirs {
      programs.opencode-cache = { enable = true; } // ours;
      programs.opencode = { enable = true; } // theirs;
    };
  ready = package "mine" {
    cache = { inherit lock; };
    version = "1.18.33";
  };
  # As after an update of nixpkgs.
  moved = package "opencode-new" { version = "1.17.4"; };
  first = evaluated: lib.head (messages evaluated ++ [ "nothing is wrong" ]);
in
{
  "${here "enable"}: off, nothing is there" = {
    expr = {
      files = (home { }).config.xdg.configFile;
      inherit ((home { }).config.home) packages;
    };
    expected = {
      files = { };
      packages = [ ];
    };
  };
  "${here "enable"}: the package is installed" = {
    expr = (only { }).config.home.packages == [ (only { }).config.programs.opencode-cache.finalPackage ];
    expected = true;
  };
  "${here "enable"}: nothing is wrong with the shipped lock" = {
    expr = messages (only { });
    expected = [ ];
  };
  "${here "enable"}: without settings no file is written" = {
    expr = (only { }).config.xdg.configFile;
    expected = { };
  };

  "${here "package"}: the OpenCode that gets a cache" = {
    expr = (final { package = package "other" { version = "1.18.21"; }; }).opencode.name;
    expected = "other";
  };
  "${here "package"}: one with a cache is taken as it is" = {
    expr =
      let
        evaluated = only {
          package = ready;
          plugins = [ "opencode-gemini-auth" ];
        };
      in
      {
        inherit ((lib.head evaluated.config.home.packages)) name;
        wrong = messages evaluated;
      };
    expected = {
      name = "mine";
      wrong = [ ];
    };
  };
  "${here "package"}: a wrong type" = {
    expr = refused (only { package = 5; }) (config: config.home.packages);
    expected = true;
  };

  "${here "package"}: null installs none, and writes the configuration" = {
    expr =
      let
        evaluated = only {
          package = null;
          settings.share = "disabled";
        };
      in
      {
        inherit (evaluated.config.home) packages;
        wrong = messages evaluated;
        file = written evaluated;
      };
    expected = {
      packages = [ ];
      wrong = [ ];
      file = schema // {
        share = "disabled";
      };
    };
  };

  "${here "package"}: null, and what would only be for it is warned about" = {
    expr =
      let
        evaluated = only {
          package = null;
          inherit lock;
          extraPackages = [ moved ];
        };
      in
      {
        wrong = messages evaluated;
        inherit (evaluated.config) warnings;
      };
    expected = {
      wrong = [ ];
      warnings = map (
        option: "${here option} has no effect, since ${here "package"} is null; leave one of the two out"
      ) [
        "lock"
        "extraPackages"
      ];
    };
  };

  "${here "onUnsupported"}: bare, OpenCode without a cache and a warning" = {
    expr =
      let
        evaluated = only { package = moved; };
      in
      {
        installed = map (one: one.name) evaluated.config.home.packages;
        wrong = messages evaluated;
        warned = map (lib.hasPrefix "programs.opencode-cache: OpenCode comes without a cache: there is no lock for OpenCode 1.17.4 ") evaluated.config.warnings;
      };
    expected = {
      installed = [ "opencode-new" ];
      wrong = [ ];
      warned = [ true ];
    };
  };
  "${here "onUnsupported"}: throw, an assertion that says what to do" = {
    expr =
      let
        said = first (only {
          package = moved;
          onUnsupported = "throw";
        });
      in
      map (part: lib.hasInfix part said) [
        "programs.opencode-cache.package: there is no lock for OpenCode 1.17.4 in this opencode-cache"
        "nix run ${import ../repository.nix}#lock -- --opencode-version 1.17.4 -o opencode-cache.lock.json"
        "opencode-release-with-cache"
        "set programs.opencode-cache.onUnsupported = \"bare\""
      ];
    expected = [
      true
      true
      true
      true
    ];
  };
  "${here "onUnsupported"}: a lock of one's own is used" = {
    expr =
      let
        evaluated = only {
          inherit lock;
          package = moved;
        };
      in
      {
        inherit (evaluated.config) warnings;
        wrong = map (lib.hasInfix "is for OpenCode 1.18.33, and the cache of OpenCode 1.17.4 has other things in it; run `nix run") (
          messages evaluated
        );
      };
    expected = {
      warnings = [ ];
      wrong = [ true ];
    };
  };
  "${here "onUnsupported"}: a wrong word" = {
    expr = refused (only { onUnsupported = "warn"; }) (config: config.programs.opencode-cache.onUnsupported);
    expected = true;
  };

  "${here "lock"}: given to mkOpencode" = {
    expr = (final { inherit lock; }).lock == lock;
    expected = true;
  };
  "${here "lock"}: none is the shipped one" = {
    expr = (final { }).lock;
    expected = null;
  };
  "${here "lock"}: a file that is none" = {
    expr = first (only { lock = ../releases.json; });
    expected = "programs.opencode-cache.lock: ${toString ../releases.json} is no lock of opencode-cache; `nix run github:OWNER/REPO#lock -- --opencode-version 1.18.33 -o opencode-cache.lock.json` writes one";
  };
  "${here "lock"}: a file that is not there" = {
    expr = lib.hasPrefix "programs.opencode-cache.lock: /nowhere/my.lock.json is not there;" (
      first (only { lock = "/nowhere/my.lock.json"; })
    );
    expected = true;
  };
  "${here "lock"}: of no use for a package with a cache" = {
    expr = first (only {
      inherit lock;
      package = ready;
    });
    expected = "programs.opencode-cache.lock has no effect, since programs.opencode-cache.package has a cache already; give `lock` to mkOpencode there, or set programs.opencode-cache.package to an OpenCode without a cache (pkgs.opencode)";
  };

  "${here "providers"}: one of the lock" = {
    expr = messages (only {
      inherit lock;
      providers = [
        "@ai-sdk/fireworks"
        "@ai-sdk/fireworks@latest"
      ];
    });
    expected = [ ];
  };
  "${here "providers"}: an unknown one" = {
    expr = messages (only {
      inherit lock;
      providers = [ "@ai-sdk/nobody" ];
    });
    expected = [
      "programs.opencode-cache.providers: \"@ai-sdk/nobody\" is not in the lock lock.json, which has these providers: @ai-sdk/fireworks; run `nix run github:OWNER/REPO#lock -- --provider @ai-sdk/nobody --opencode-version 1.18.33 -o opencode-cache.lock.json`, then set programs.opencode-cache.lock = ./opencode-cache.lock.json; an SDK that OpenCode bundles need not be named here"
    ];
  };
  "${here "providers"}: one that the registry lacks" = {
    expr = messages (only {
      inherit lock;
      providers = [ "watsonx-ai-provider" ];
    });
    expected = [
      "programs.opencode-cache.providers: \"watsonx-ai-provider\" is not in the lock lock.json, which has these providers: @ai-sdk/fireworks; it could not be locked, since the registry has no such package or version: leave it out of programs.opencode-cache.providers"
    ];
  };
  "${here "providers"}: a wrong type" = {
    expr = refused (only { providers = "@ai-sdk/fireworks"; }) (config: config.assertions);
    expected = true;
  };

  "${here "plugins"}: in opencode.json, with those of the settings" = {
    expr = written (only {
      inherit lock;
      plugins = [
        "opencode-gemini-auth"
        "opencode-pinned@1.2.3"
      ];
      settings.plugin = [
        "./mine.ts"
        "opencode-gemini-auth"
      ];
    });
    expected = schema // {
      plugin = [
        "./mine.ts"
        "opencode-gemini-auth"
        "opencode-pinned@1.2.3"
      ];
    };
  };
  "${here "plugins"}: none is in the shipped lock" = {
    expr = messages (only {
      plugins = [ "opencode-gemini-auth" ];
    });
    expected = [
      "programs.opencode-cache.plugins: \"opencode-gemini-auth\" is not in the lock that comes with opencode-cache for OpenCode 1.18.33, which has these plugins: none; run `nix run github:OWNER/REPO#lock -- --plugin opencode-gemini-auth --opencode-version 1.18.33 -o opencode-cache.lock.json`, then set programs.opencode-cache.lock = ./opencode-cache.lock.json"
    ];
  };
  "${here "plugins"}: another version is another plugin" = {
    expr = lib.hasPrefix "programs.opencode-cache.plugins: \"opencode-pinned\" is not in the lock" (
      first (only {
        inherit lock;
        plugins = [ "opencode-pinned" ];
      })
    );
    expected = true;
  };
  "${here "plugins"}: the command names all that is wanted" = {
    expr = lib.any (message: lib.hasPrefix "programs.opencode-cache.plugins: \"b\"" message) (
      messages (only {
        plugins = [
          "a"
          "b"
        ];
      })
    );
    expected = true;
  };
  "${here "plugins"}: a wrong type" = {
    expr = refused (only { plugins = [ { name = "x"; } ]; }) (config: config.assertions);
    expected = true;
  };

  "${here "tools"}: a server and a formatter, switched on" = {
    expr =
      let
        evaluated = only {
          inherit lock;
          tools = [
            "pyright"
            "prettier"
          ];
        };
      in
      {
        wrong = messages evaluated;
        file = written evaluated;
      };
    expected = {
      wrong = [ ];
      file = schema // {
        lsp = true;
        formatter = true;
      };
    };
  };
  "${here "tools"}: what the settings say of them wins" = {
    expr = written (only {
      inherit lock;
      tools = [ "pyright" ];
      settings.lsp.pyright.disabled = true;
    });
    expected = schema // {
      lsp.pyright.disabled = true;
    };
  };
  "${here "tools"}: an OpenCode that does not know such a switch" = {
    expr = (only {
      inherit lock;
      package = package "old" { version = "1.0.61"; };
      tools = [ "pyright" ];
    }).config.xdg.configFile;
    expected = { };
  };
  "${here "tools"}: an unknown one" = {
    expr = lib.hasPrefix "programs.opencode-cache.tools: \"nobody-ls\" is not in the lock lock.json, which has these tools: prettier, pyright; run `nix run github:OWNER/REPO#lock -- --tool nobody-ls " (
      first (only {
        inherit lock;
        tools = [ "nobody-ls" ];
      })
    );
    expected = true;
  };

  "${here "extraPackages"}: given to mkOpencode" = {
    expr = (final { extraPackages = [ tools.git ]; }).extraPackages;
    expected = [ tools.git ];
  };
  "${here "extraPackages"}: no argument where there are none" = {
    expr = final { } ? extraPackages;
    expected = false;
  };

  "${here "settings"}: written with $schema" = {
    expr = written (only { settings.model = "anthropic/claude-sonnet-4-5"; });
    expected = schema // {
      model = "anthropic/claude-sonnet-4-5";
    };
  };
  "${here "settings"}: a plugin that the lock lacks" = {
    expr = messages (only {
      settings.plugin = [
        "opencode-nobody"
        "file:///srv/a.ts"
        "./b.ts"
        [
          "/srv/c"
          { option = 1; }
        ]
      ];
    });
    expected = [
      "programs.opencode-cache.settings.plugin: \"opencode-nobody\" is not in the lock that comes with opencode-cache for OpenCode 1.18.33, which has these plugins: none; run `nix run github:OWNER/REPO#lock -- --plugin opencode-nobody --opencode-version 1.18.33 -o opencode-cache.lock.json`, then set programs.opencode-cache.lock = ./opencode-cache.lock.json"
    ];
  };
  "${here "settings"}: a wrong type" = {
    expr = refused (only { settings.model = _: 1; }) (config: config.programs.opencode-cache.settings);
    expected = true;
  };

  "${here "offline"}: given to mkOpencode" = {
    expr = map (offline: (final { inherit offline; }).offline) [
      true
      false
    ];
    expected = [
      true
      false
    ];
  };
  "${here "offline"}: without it, plugins may come from npm" = {
    expr = messages (only {
      offline = false;
      settings.plugin = [ "opencode-nobody" ];
    });
    expected = [ ];
  };
  "${here "offline"}: a wrong type" = {
    expr = refused (only { offline = "yes"; }) (config: config.home.packages);
    expected = true;
  };

  "${here "shareSessions"}: a variable for whoever logs in" = {
    expr = map (shareSessions: (only { inherit shareSessions; }).config.home.sessionVariables) [
      false
      true
    ];
    expected = [
      { }
      { OPENCODE_DISABLE_CHANNEL_DB = "1"; }
    ];
  };

  "${here "finalPackage"}: is to be read" = {
    expr = refused (only { finalPackage = opencode; }) (config: config.programs.opencode-cache.finalPackage);
    expected = true;
  };
  "${here "finalSettings"}: what is written" = {
    expr =
      (only {
        inherit lock;
        plugins = [ "opencode-gemini-auth" ];
      }).config.programs.opencode-cache.finalSettings;
    expected.plugin = [ "opencode-gemini-auth" ];
  };

  "home-manager's programs.opencode: there, and not enabled" = {
    expr =
      let
        inherit ((homeWithTheirs { programs.opencode-cache.enable = true; })) config;
      in
      {
        installed = builtins.length config.home.packages;
        theirs = config.programs.opencode.package.name;
      };
    expected = {
      installed = 1;
      theirs = "opencode";
    };
  };
  "home-manager's programs.opencode: gets the package and the settings" = {
    expr =
      let
        evaluated = together {
          inherit lock;
          plugins = [ "opencode-gemini-auth" ];
          tools = [ "pyright" ];
          settings.model = "a/b";
        } { settings.theme = "system"; };
        inherit (evaluated) config;
      in
      {
        wrong = messages evaluated;
        same = config.programs.opencode.package == config.programs.opencode-cache.finalPackage;
        inherit (config.programs.opencode) settings;
        installed = config.home.packages;
        files = config.xdg.configFile;
      };
    expected = {
      wrong = [ ];
      same = true;
      settings = {
        model = "a/b";
        theme = "system";
        lsp = true;
        plugin = [ "opencode-gemini-auth" ];
      };
      # Theirs to do.
      installed = [ ];
      files = { };
    };
  };
  "home-manager's programs.opencode: what it says of language servers wins" = {
    expr =
      (together {
        inherit lock;
        tools = [ "pyright" ];
      } { settings.lsp.pyright.disabled = true; }).config.programs.opencode.settings;
    expected.lsp.pyright.disabled = true;
  };
  "home-manager's programs.opencode: a plugin there that the lock lacks" = {
    expr = map (lib.hasPrefix "programs.opencode.settings.plugin: \"opencode-nobody\" is not in the lock") (
      messages (together { } { settings.plugin = [ "opencode-nobody" ]; })
    );
    expected = [ true ];
  };
  "home-manager's programs.opencode: a package of its own" = {
    expr = messages (together { } { package = package "other" { }; });
    expected = [
      "programs.opencode.package is set as well as programs.opencode-cache.enable, so OpenCode would start without its cache; set programs.opencode-cache.package to that package instead"
    ];
  };
  "home-manager's programs.opencode: is left alone while ours is off" = {
    expr =
      let
        inherit ((homeWithTheirs { programs.opencode.enable = true; })) config;
      in
      {
        inherit (config.programs.opencode.package) name;
        inherit (config.programs.opencode) settings;
      };
    expected = {
      name = "opencode";
      settings = { };
    };
  };
}
